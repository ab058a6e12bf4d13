/* SPDX-License-Identifier: GPL-2.0-only */
/* The line for the user; see error.h. */
#include "vmm/error.h"

#include <stdarg.h>
#include <stdio.h>

int vmm_fail(struct vmm_error *error, int code, const char *format, ...)
{
	va_list args;

	if (!error || error->text[0])
		return code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return code;
}
