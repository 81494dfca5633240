/*
 * format.c: vsnprintf: %d %i %u %x %X %o %c %s %p %%, with h, l, ll, z, flags - 0 + # and space, widths and
 * precisions, also as *.
 *
 * Does not do: floating point, %n.
 */
#include "kernel.h"

struct out {
    char *to;
    size_t max;
    size_t n; /* what would have been written */
};

static void out_char(struct out *out, char c)
{
    if (out->n + 1 < out->max)
        out->to[out->n] = c;
    out->n++;
}

static void out_pad(struct out *out, char c, int n)
{
    for (; n > 0; n--)
        out_char(out, c);
}

struct spec {
    bool left, zero, plus, space, alternate;
    int width;
    int precision;  /* -1: none */
    unsigned longs; /* 0: int, 1: long, 2: long long, size_t */
};

static void out_text(struct out *out, const struct spec *spec, const char *text)
{
    int len = 0;

    if (text == NULL)
        text = "(null)";
    while ((spec->precision < 0 || len < spec->precision) && text[len] != 0)
        len++;
    if (!spec->left)
        out_pad(out, ' ', spec->width - len);
    for (int i = 0; i < len; i++)
        out_char(out, text[i]);
    if (spec->left)
        out_pad(out, ' ', spec->width - len);
}

static void out_number(struct out *out, const struct spec *spec, uint64_t value, unsigned base,
                       const char *prefix, bool capital)
{
    const char *const digits = capital ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[24];
    int len = 0, prefix_len = 0;

    do {
        text[len++] = digits[value % base];
        value /= base;
    } while (value != 0);
    while (prefix[prefix_len] != 0)
        prefix_len++;
    int zeros = spec->precision > len ? spec->precision - len : 0;
    if (spec->zero && !spec->left && spec->precision < 0 && spec->width > len + prefix_len)
        zeros = spec->width - len - prefix_len;
    int pad = spec->width - len - zeros - prefix_len;
    if (!spec->left)
        out_pad(out, ' ', pad);
    for (int i = 0; i < prefix_len; i++)
        out_char(out, prefix[i]);
    out_pad(out, '0', zeros);
    while (len > 0)
        out_char(out, text[--len]);
    if (spec->left)
        out_pad(out, ' ', pad);
}

static int parse_number(const char **at, va_list *args)
{
    int value = 0;

    if (**at == '*') {
        ++*at;
        return va_arg(*args, int);
    }
    for (; **at >= '0' && **at <= '9'; ++*at)
        value = value * 10 + (**at - '0');
    return value;
}

static void parse_spec(struct spec *spec, const char **at, va_list *args)
{
    *spec = (struct spec){.precision = -1};
    for (;; ++*at) {
        if (**at == '-')
            spec->left = true;
        else if (**at == '0')
            spec->zero = true;
        else if (**at == '+')
            spec->plus = true;
        else if (**at == ' ')
            spec->space = true;
        else if (**at == '#')
            spec->alternate = true;
        else
            break;
    }
    spec->width = parse_number(at, args);
    if (spec->width < 0) {
        spec->left = true;
        spec->width = -spec->width;
    }
    if (**at == '.') {
        ++*at;
        spec->precision = parse_number(at, args);
    }
    for (; **at == 'l' || **at == 'z' || **at == 'h'; ++*at)
        spec->longs += **at != 'h';
}

static void out_signed(struct out *out, const struct spec *spec, int64_t value)
{
    const char *sign = value < 0 ? "-" : spec->plus ? "+" : spec->space ? " " : "";

    out_number(out, spec, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, sign, false);
}

static void out_spec(struct out *out, char type, const struct spec *spec, va_list *args)
{
    char one[2] = {type, 0};

    switch (type) {
    case 'd':
    case 'i':
        out_signed(out, spec, spec->longs ? va_arg(*args, int64_t) : va_arg(*args, int));
        break;
    case 'u':
    case 'o':
    case 'x':
    case 'X': {
        uint64_t value = spec->longs ? va_arg(*args, uint64_t) : va_arg(*args, unsigned);

        out_number(out, spec, value,
                   type == 'u'   ? 10
                   : type == 'o' ? 8
                                 : 16,
                   spec->alternate && value != 0 && type != 'u' ? (type == 'o' ? "0" : "0x") : "",
                   type == 'X');
        break;
    }
    case 'p':
        out_number(out, spec, (uint64_t)va_arg(*args, void *), 16, "0x", false);
        break;
    case 's':
        out_text(out, spec, va_arg(*args, const char *));
        break;
    case 'c':
        one[0] = (char)va_arg(*args, int);
        out_text(out, spec, one);
        break;
    default:
        out_text(out, spec, one);
    }
}

int vsnprintf(char *to, size_t max, const char *format, va_list args)
{
    struct out out = {.to = to, .max = max};
    struct spec spec;
    va_list rest;

    va_copy(rest, args);
    for (const char *at = format; *at != 0; at++) {
        if (*at != '%') {
            out_char(&out, *at);
            continue;
        }
        at++;
        parse_spec(&spec, &at, &rest);
        if (*at == 0)
            break;
        out_spec(&out, *at, &spec, &rest);
    }
    va_end(rest);
    if (max > 0)
        to[out.n < max ? out.n : max - 1] = 0;
    return (int)out.n;
}

int snprintf(char *to, size_t max, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(to, max, format, args);
    va_end(args);
    return n;
}
