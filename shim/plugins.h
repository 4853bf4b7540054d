/* Plugins that a program loads while it runs. */
#pragma once

/* From now on RTLD_DEEPBIND is taken away: their calls are seen. */
void plugins_see(void);
