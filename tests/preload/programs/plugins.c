/* A program with a plugin that uses connections: SCENARIO PORT SECOND_PORT HOW PLUGIN.
 *
 * HOW is how it is loaded: "plain", "deep" (RTLD_DEEPBIND: libc's functions come before those of
 * preloaded libraries) or "apart" (a namespace of its own, with a libc of its own).
 */
#include "client.h"
#include <dlfcn.h>
#include <fcntl.h>

static const char *how, *path;
static int (*plugin_dial)(int to_port);
static int (*plugin_fetch)(int fd, const char *path, char *body, size_t size);
static int (*plugin_close)(int fd);
static int (*plugin_open)(const char *path);

static void *load(void)
{
	if (!strcmp(how, "apart"))
		return dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
	return dlopen(path, !strcmp(how, "deep") ? RTLD_NOW | RTLD_DEEPBIND : RTLD_NOW);
}

static void *find(void *plugin, const char *name)
{
	void *function = dlsym(plugin, name);

	if (!function)
		printf("%s\n", dlerror());
	return function;
}

static void load_plugin(void)
{
	void *plugin = load();

	if (!plugin) {
		printf("%s\n", dlerror());
		exit(1);
	}
	plugin_dial = find(plugin, "plugin_dial");
	plugin_fetch = find(plugin, "plugin_fetch");
	plugin_close = find(plugin, "plugin_close");
	plugin_open = find(plugin, "plugin_open");
}

static void fetch_inside(int fd, const char *what)
{
	char body[64] = "";
	int status = plugin_fetch(fd, what, body, sizeof(body));

	printf("inside %s: %d %s\n", what, status, body);
}

static void all_inside(void)
{
	for (int i = 0; i < 10; i++) {
		int fd = plugin_dial(port);

		fetch_inside(fd, "/echo/inside");
		report("close", plugin_close(fd));
	}
}

/* Each of opening, the exchange and closing, inside or outside. */
static void half_visible(void)
{
	for (int inside = 0; inside < 8; inside++) {
		int fd = inside & 1 ? plugin_dial(port) : dial();

		if (inside & 2)
			fetch_inside(fd, "/echo/half");
		else
			fetch(fd, "/echo/half");
		report("close", inside & 4 ? plugin_close(fd) : close(fd));
		report("close again", inside & 4 ? close(fd) : plugin_close(fd));
		visit("/echo/after");
	}
}

/* What is closed on one side is a file on the other. */
static void numbers(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = i & 1 ? plugin_dial(port) : dial();
		int file;

		if (i & 2)
			fetch_inside(fd, "/echo/first");
		else
			fetch(fd, "/echo/first");
		report("close", plugin_close(fd));
		file = i & 2 ? plugin_open("/dev/zero") : open("/dev/zero", O_RDWR);
		printf("same number: %d\n", file == fd);
		visit("/echo/meanwhile");
		report("read", read(file, (char[8]){0}, 8));
		report("close", i & 1 ? close(file) : plugin_close(file));
	}
	visit("/echo/after");
}

/* A connection that the plugin opened on a number of which something else is known. */
static void stale_numbers(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = dial();
		int next;

		request(fd, "GET", "/echo/never-read");
		plugin_close(fd);
		next = plugin_dial(i & 1 ? control_port : port);
		printf("same number: %d\n", next == fd);
		if (i & 2)
			fetch(next, "/echo/next");
		else
			fetch_inside(next, "/echo/next");
		report("close", close(next));
	}
	visit("/echo/after");
}

/* Two at once, one on each side. */
static void side_by_side(void)
{
	for (int i = 0; i < 5; i++) {
		int inside = plugin_dial(port);
		int outside = dial();

		request(outside, "GET", "/echo/outside");
		fetch_inside(inside, "/echo/inside");
		show("outside", receive(outside, true));
		report("close", i % 2 ? plugin_close(inside) : close(inside));
		report("close", close(outside));
	}
}

static const struct scenario scenarios[] = {
	{"all_inside", all_inside},
	{"half_visible", half_visible},
	{"numbers", numbers},
	{"stale_numbers", stale_numbers},
	{"side_by_side", side_by_side},
};

int main(int argc, char **argv)
{
	if (argc != 6)
		return 3;
	how = argv[4];
	path = argv[5];
	load_plugin();
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}
