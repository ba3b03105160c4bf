/* family.c - what longtake.json adds to a model. */
#include "model/family.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/files/remote/source.h"

static lt_status read_steps(const lt_json_at *at, lt_model_facts *facts)
{
    int64_t value = 0;
    if (lt_json_has(at, "steps")) {
        LT_TRY(lt_json_int(at, "steps", 2, 10000, &value));
        facts->steps = (int)value;
    }
    if (lt_json_has(at, "window_frames"))
        LT_TRY(lt_json_int(at, "window_frames", 1, 1 << 20, &facts->window_frames));
    if (lt_json_has(at, "trained_frames")) {
        size_t count = 0;
        LT_TRY(lt_json_ints(at, "trained_frames", 1, 1 << 20, facts->trained_frames, LT_TRAINED_MAX,
                            &count));
        facts->trained_count = (int)count;
    }
    if (lt_json_has(at, "size")) {
        int64_t size[2];
        size_t count = 2; /* wanted: just two */
        LT_TRY(lt_json_ints(at, "size", 1, 65536, size, 2, &count));
        facts->default_width = size[0];
        facts->default_height = size[1];
        facts->size_is_given = 1;
    }
    return LT_OK;
}

static lt_status read_words(const lt_json_at *at, lt_model_facts *facts)
{
    if (!lt_json_has(at, "words"))
        return LT_OK;
    lt_json_at words;
    LT_TRY(lt_json_member(at, "words", &words));
    if (!json_is_array(words.value))
        LT_FAIL(LT_EDATA, "%s: words: want a list of words", at->source);
    size_t i;
    json_t *word;
    json_array_foreach (words.value, i, word) {
        if (!json_is_string(word))
            LT_FAIL(LT_EDATA, "%s: words[%zu]: want a word, found something else", at->source, i);
    }
    facts->words = json_deep_copy(words.value);
    if (facts->words == NULL)
        LT_FAIL(LT_ENOMEM, "%s: words: no memory", at->source);
    return LT_OK;
}

static lt_status read_preview(const lt_json_at *at, lt_model_facts *facts)
{
    lt_json_at preview;
    if (!lt_json_has(at, "preview"))
        return LT_OK;
    LT_TRY(lt_json_member(at, "preview", &preview));
    return lt_preview_map_read(&preview, &facts->preview);
}

lt_status lt_model_facts_read(const char *path, lt_model_facts *facts)
{
    char file[LT_PATH_BYTES];
    LT_TRY(lt_path_join(file, sizeof file, path, "longtake.json"));
    if (!lt_source_exists(file))
        return LT_OK;
    json_t *json = NULL;
    LT_TRY(lt_source_json(file, &json));
    const lt_json_at at = lt_json_root(json, file);
    lt_status st = LT_OK;
    const char *format = NULL;
    LT_TRY_GOTO(lt_json_string(&at, "format", &format), st, done);
    if (strcmp(format, "longtake-model") != 0)
        LT_FAIL_GOTO(LT_EDATA, st, done, "%s: format: want longtake-model, found %s", file, format);
    LT_TRY_GOTO(read_steps(&at, facts), st, done);
    LT_TRY_GOTO(read_words(&at, facts), st, done);
    LT_TRY_GOTO(read_preview(&at, facts), st, done);
done:
    json_decref(json);
    return st;
}
