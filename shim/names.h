/* Host names that the program resolves. */
#pragma once

struct endpoint;
struct name;

/* The one by which this thread resolved the address to which it connects now: look_ups_use(). */
const struct name *names_latest(const struct endpoint *endpoint);
