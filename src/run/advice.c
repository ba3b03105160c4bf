/* advice.c - what is said of a job that will run, but not as its user may think. */
#include "run/advice.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"

enum { LISTED_MAX = 8 };

/* "22, 39, 56, 90 and 124", or "124 to 362, 15 lengths" where they are many. */
static void list_lengths(const lt_model_facts *facts, char *out, size_t bytes)
{
    const int n = facts->trained_count;
    size_t used = 0;
    out[0] = '\0';
    if (n > LISTED_MAX) {
        (void)snprintf(out, bytes, "%d lengths, %lld to %lld", n,
                       (long long)facts->trained_frames[0],
                       (long long)facts->trained_frames[n - 1]);
        return;
    }
    for (int i = 0; i < n && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%lld",
                                 i == 0       ? ""
                                 : i == n - 1 ? " and "
                                              : ", ",
                                 (long long)facts->trained_frames[i]);
}

/* The known lengths next below and above; 0: none. They need not be in order. */
static void neighbours(const lt_model_facts *facts, int64_t length, int64_t *below, int64_t *above)
{
    *below = *above = 0;
    for (int i = 0; i < facts->trained_count; i++) {
        const int64_t x = facts->trained_frames[i];
        if (x < length && x > *below)
            *below = x;
        if (x > length && (*above == 0 || x < *above))
            *above = x;
    }
}

void lt_advise_length(const lt_model_facts *facts, int64_t asked, int64_t rendered)
{
    char known[160], nearest[96];
    int64_t below, above;
    for (int i = 0; i < facts->trained_count; i++)
        if (facts->trained_frames[i] == rendered)
            return;
    if (facts->trained_count == 0)
        return;
    list_lengths(facts, known, sizeof known);
    neighbours(facts, rendered, &below, &above);
    if (below > 0 && above > 0)
        (void)snprintf(nearest, sizeof nearest, "--frames %lld or %lld", (long long)below,
                       (long long)above);
    else
        (void)snprintf(nearest, sizeof nearest, "--frames %lld",
                       (long long)(below > 0 ? below : above));
    if (asked == rendered)
        lt_warn("%lld frames: the model does not know this length, expect a weaker film: it knows "
                "%s; nearest: %s",
                (long long)asked, known, nearest);
    else
        lt_warn("%lld frames: rendered as %lld and cut; the model does not know that length, "
                "expect a weaker film: it knows %s; nearest: %s",
                (long long)asked, (long long)rendered, known, nearest);
}

void lt_advise_size(const lt_model_facts *facts, int64_t width, int64_t height)
{
    if (facts->size_is_given && (width != facts->default_width || height != facts->default_height))
        lt_warn("--size %lldx%lld: the model knows %lldx%lld alone; at other sizes expect stripes "
                "and shapes that are not of the prompt",
                (long long)width, (long long)height, (long long)facts->default_width,
                (long long)facts->default_height);
}

/* The words of the prompt that the model has never seen, named once. */
void lt_advise_words(const lt_model_facts *facts, const char *prompt)
{
    if (facts->words == NULL)
        return;
    char unknown[256] = "";
    for (const char *p = prompt; *p != '\0';) {
        const size_t skip = strspn(p, " \t\r\n.,;:!?\"'()");
        p += skip;
        const size_t length = strcspn(p, " \t\r\n.,;:!?\"'()");
        if (length == 0)
            continue;
        int known = 0;
        size_t i;
        json_t *word;
        json_array_foreach (facts->words, i, word) {
            const char *text = json_string_value(word);
            known |= text != NULL && strlen(text) == length && strncasecmp(text, p, length) == 0;
        }
        const size_t used = strlen(unknown);
        if (!known && used + length + 3 < sizeof unknown)
            (void)snprintf(unknown + used, sizeof unknown - used, "%s%.*s", used ? ", " : "",
                           (int)length, p);
        p += length;
    }
    if (unknown[0] != '\0')
        lt_warn("--prompt: the model does not know: %s (it knows %zu words: longtake.json)",
                unknown, json_array_size(facts->words));
}
