/*
 * text.c: text that is put together line by line, for files of /proc.
 */
#include "fs/text.h"

#include "kernel.h"

#include <stdarg.h>

void text_printf(struct text *text, const char *format, ...)
{
    size_t room = text->len < text->max ? text->max - text->len : 0;
    va_list args;

    va_start(args, format);
    int n = vsnprintf(room > 0 ? text->bytes + text->len : NULL, room, format, args);
    va_end(args);
    text->len += (size_t)n;
}

void text_pad(struct text *text, size_t line, size_t column)
{
    while (text->len - line < column)
        text_printf(text, " ");
}
