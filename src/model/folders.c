/* folders.c - the class of a part, by its config. */
#include "model/folders.h"

const char *lt_config_class(const json_t *config)
{
    const char *name = json_string_value(json_object_get(config, "_class_name"));
    if (name == NULL) /* transformers' spelling */
        name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    return name != NULL ? name : json_string_value(json_object_get(config, "model_type"));
}
