/* The status page of this process (pool/status_page.h), and how others find it.
 *
 * In the directory SP_STATUS_DIR there is a file for each process that has a page, named by its
 * process id in decimal. It says in one line where the page is:
 *
 *      sppool 1 DESCRIPTOR
 *
 * That is a sealed memfd (memfd_create(2)), open in that process as DESCRIPTOR: who may look into
 * the process opens it as /proc/PID/fd/DESCRIPTOR. So nobody can take the memory from under the
 * process, as they could by truncating a file, and nothing is left of it when the process has
 * ended, but for the file, which whoever finds it removes. Who asks for something holds flock(2) on
 * the file, so that one asks at a time.
 */
#pragma once

#include <stdbool.h>

/* At start: where the entries are. false if the name is too long, or not absolute. */
bool status_want(const char *directory);

/* Before a connect() that the pool is told of: the process has a page from now on, if one is
 * wanted. */
void status_begin(void);

/* Takes the entry away, when the process ends. */
void status_end(void);

/* It is open as this descriptor now; -1: it is not any more. */
void status_page_moved(int number);

/* The parent's page is none of the child's. */
void status_after_fork_in_child(void);
