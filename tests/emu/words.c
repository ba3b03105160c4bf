/* words.c - PTX cut into words, see parse.h.
 *
 * A word is letters, digits and _ $ % . (so that a spelling with its dots is one); braces, commas
 * and brackets stand alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emu/parse.h"

static int line_of(const ptx_parser *p, const char *at)
{
    int line = 1;
    for (const char *c = p->module->text; c < at; c++)
        line += *c == '\n';
    return line;
}

__attribute__((noreturn)) void ptx_refuse(ptx_parser *p, const char *what)
{
    const char *end = strchr(p->now.at, '\n');
    const size_t left = end != NULL ? (size_t)(end - p->now.at) : strlen(p->now.at);
    (void)snprintf(p->why, PTX_WHY, "PTX, line %d: %s, found '%.*s'%s%s", line_of(p, p->now.at),
                   what, (int)(left < 120 ? left : 120), p->now.at, p->f != NULL ? ", in " : "",
                   p->f != NULL && p->f->name != NULL ? p->f->name : "");
    longjmp(p->out, 1);
}

/* ---- words ---- */

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c == '%' || c == '.';
}

static void skip_blanks(ptx_parser *p)
{
    for (;;) {
        while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')
            p->at++;
        if (p->at[0] == '/' && p->at[1] == '/') {
            while (*p->at != '\0' && *p->at != '\n')
                p->at++;
        } else if (p->at[0] == '/' && p->at[1] == '*') {
            const char *end = strstr(p->at + 2, "*/");
            p->at = end != NULL ? end + 2 : p->at + strlen(p->at);
        } else {
            return;
        }
    }
}

void ptx_next(ptx_parser *p)
{
    skip_blanks(p);
    p->now = (ptx_text){p->at, 0};
    if (*p->at == '\0')
        return;
    if (*p->at == '"') {
        const char *end = strchr(p->at + 1, '"');
        if (end == NULL)
            ptx_refuse(p, "want a closing quote");
        p->at = end + 1;
    } else if (*p->at == '-' && p->at[1] >= '0' && p->at[1] <= '9') {
        for (p->at++; is_letter(*p->at);)
            p->at++;
    } else if (is_letter(*p->at)) {
        while (is_letter(*p->at) || (p->at[0] == ':' && p->at[1] == ':') ||
               (p->at[0] == ':' && p->at[-1] == ':'))
            p->at++;
    } else {
        p->at++;
    }
    p->now.length = (size_t)(p->at - p->now.at);
}

int ptx_is(const ptx_parser *p, const char *text)
{
    return p->now.length == strlen(text) && memcmp(p->now.at, text, p->now.length) == 0;
}

int ptx_take(ptx_parser *p, const char *text)
{
    if (!ptx_is(p, text))
        return 0;
    ptx_next(p);
    return 1;
}

void ptx_want(ptx_parser *p, const char *text)
{
    char what[32];
    (void)snprintf(what, sizeof what, "want '%s'", text);
    if (!ptx_take(p, text))
        ptx_refuse(p, what);
}

int ptx_same(ptx_text a, ptx_text b)
{
    return a.length == b.length && memcmp(a.at, b.at, a.length) == 0;
}

int64_t ptx_number(ptx_parser *p)
{
    const char *at = p->now.at;
    char *end = NULL;
    const int is_bits = p->now.length > 2 && at[0] == '0' && (at[1] == 'f' || at[1] == 'd');
    const int64_t v = is_bits      ? (int64_t)strtoull(at + 2, &end, 16)
                      : *at == '-' ? strtoll(at, &end, 0)
                                   : (int64_t)strtoull(at, &end, 0);
    if (end == at || (end != at + p->now.length && !(*end == 'U' && end + 1 == at + p->now.length)))
        ptx_refuse(p, "want a number");
    ptx_next(p);
    return v;
}
