/* mux_log.h - FFmpeg's messages go through lt_log, for whoever uses FFmpeg. Local, never fail. */
#ifndef LT_MUX_LOG_H
#define LT_MUX_LOG_H

#include <stddef.h>

/* From now on; call it before anything of FFmpeg's. */
void lt_mux_log_open(void);
/* FFmpeg's last error message on any thread, into a buffer of the caller; "" if none. Forgets it.
 */
void lt_mux_log_last(char *text, size_t bytes);

#endif
