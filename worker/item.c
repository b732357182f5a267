#include "worker/item.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "worker/text.h"

int cs_item_id_value(struct cs_js value, char out[CS_ID_MAX + 1])
{
    int n = cs_js_str_into(value, out, CS_ID_MAX + 1);

    for (int i = 0; i < n; i++) {
        if ((unsigned char)out[i] <= ' ' || out[i] == 0x7f)
            n = -EINVAL;
    }
    if (n > 0)
        return 0;
    out[0] = '\0';
    return -EINVAL;
}

int cs_item_id(struct cs_js item, char out[CS_ID_MAX + 1])
{
    return cs_item_id_value(cs_js_get(item, "id"), out);
}

void cs_item_change_key(struct cs_js item, char out[CS_CHANGE_KEY_MAX])
{
    int n = cs_js_str_into(cs_js_get(item, "changeKey"), out, CS_CHANGE_KEY_MAX);
    char etag[CS_CHANGE_KEY_MAX + 8];
    size_t len;

    if (n > 0)
        return;
    out[0] = '\0';
    n = cs_js_str_into(cs_js_get(item, "@odata.etag"), etag, sizeof(etag));
    if (n <= 4 || strncmp(etag, "W/\"", 3) != 0 || etag[n - 1] != '"')
        return;
    len = (size_t)n - 4;
    if (len < CS_CHANGE_KEY_MAX) {
        memcpy(out, etag + 3, len);
        out[len] = '\0';
    }
}

void cs_item_write_texts(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                         struct cs_js array)
{
    struct cs_js_iter it = {0};
    struct cs_js one;
    size_t written = 0;

    cs_jw_key(jw, key);
    cs_jw_array(jw);
    while (cs_js_next_element(array, &it, &one)) {
        if (cs_js_type(one) != CS_JS_STRING)
            continue;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        cs_text_write(jw, one, fit->text_max, fit->cut);
    }
    cs_jw_array_end(jw);
}

/* "file", "item", "reference"; a type that we do not know passes through. */
static void write_kind(struct cs_jw *jw, const struct cs_fit *fit, struct cs_js type)
{
    cs_jw_key(jw, "kind");
    if (cs_js_str_is_nocase(type, "#microsoft.graph.fileAttachment"))
        cs_jw_str(jw, "file");
    else if (cs_js_str_is_nocase(type, "#microsoft.graph.itemAttachment"))
        cs_jw_str(jw, "item");
    else if (cs_js_str_is_nocase(type, "#microsoft.graph.referenceAttachment"))
        cs_jw_str(jw, "reference");
    else
        cs_text_write(jw, type, fit->text_max, fit->cut);
}

void cs_item_write_attachments(struct cs_jw *jw, const struct cs_fit *fit, struct cs_js array)
{
    struct cs_js_iter it = {0};
    struct cs_js one;
    size_t written = 0;

    cs_jw_key(jw, "attachments");
    if (cs_js_type(array) != CS_JS_ARRAY) {
        cs_jw_null(jw);
        return;
    }
    cs_jw_array(jw);
    while (cs_js_next_element(array, &it, &one)) {
        int64_t size;

        if (cs_js_type(one) != CS_JS_OBJECT)
            continue;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        cs_jw_object(jw);
        cs_text_kwrite(jw, "id", cs_js_get(one, "id"), CS_ID_MAX * 2, fit->cut);
        cs_text_kwrite(jw, "name", cs_js_get(one, "name"), fit->text_max, fit->cut);
        cs_text_kwrite(jw, "content_type", cs_js_get(one, "contentType"), fit->text_max, fit->cut);
        write_kind(jw, fit, cs_js_get(one, "@odata.type"));
        if (cs_js_i64(cs_js_get(one, "size"), &size) == 0)
            cs_jw_ki64(jw, "size", size);
        else
            cs_jw_knull(jw, "size");
        cs_text_kbool(jw, "is_inline", cs_js_get(one, "isInline"));
        cs_text_kwrite(jw, "content_id", cs_js_get(one, "contentId"), fit->text_max, fit->cut);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}
