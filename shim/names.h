/* Host names that the program resolves. */
#pragma once

struct name;

/* The one that this thread resolved last; NULL: none. */
const struct name *names_latest(void);
