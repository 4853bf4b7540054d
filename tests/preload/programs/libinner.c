/* What libouter loads by its bare name. */
__attribute__((visibility("default"))) int inner(void);

int inner(void)
{
	return 42;
}
