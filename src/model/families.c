/* families.c - the table of families, and finding the one that a folder is of.
 * Above the families: each is a file that this one names, and none knows of it. */
#include "model/family.h"

#include "model/files/folder_check.h"
#include "model/files/remote/source.h"
#include "model/h3/h3.h"

static const lt_family *const families[] = {&lt_family_h3};

const lt_family *lt_family_at(int i)
{
    return i < (int)(sizeof families / sizeof *families) ? families[i] : NULL;
}

lt_status lt_model_open(const char *path, lt_model **out)
{
    *out = NULL;
    if (!lt_source_is_dir(path)) {
        lt_folder_hint(path);
        lt_hint("--model wants the folder of a published checkpoint; `longtake inspect %s` tells "
                "what a path is",
                path);
        LT_FAIL(LT_ENOINPUT, "%s: want a model folder, found %s", path,
                lt_source_exists(path) ? "a file" : "nothing");
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i]->recognise(path)) {
            LT_TRY(families[i]->open(path, out));
            return LT_OK;
        }
    lt_folder_hint(path);
    lt_hint("`longtake inspect %s` tells what is there", path);
    LT_FAIL(
        LT_EDATA,
        "%s: no known model: want transformer/config.json of class MiniMaxH3Transformer3DModel, or "
        "model_index.json with _minimax_h3",
        path);
}

void lt_model_close(lt_model **model)
{
    if (*model != NULL)
        (*model)->family->close(model);
}
