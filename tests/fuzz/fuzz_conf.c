/* Configuration files: whatever they hold, they are read or refused with a reason, and what was read, printed, reads
 * as the same. */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "common/buf.h"
#include "common/conf_file.h"

/* libconfig 1.5 forgets a text that it was in the middle of when it meets a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig";
}

static void print_node(const struct cs_node *node, struct cs_buf *out)
{
    switch (node->type) {
    case CS_NODE_GROUP:
    case CS_NODE_LIST:
        cs_buf_adds(out, node->type == CS_NODE_GROUP ? "{" : "(");
        for (size_t i = 0; i < node->n; i++) {
            if (node->type == CS_NODE_GROUP)
                cs_buf_addf(out, "%s = ", node->children[i].name);
            print_node(&node->children[i], out);
            cs_buf_adds(out, node->type == CS_NODE_GROUP ? "; " : i + 1 < node->n ? ", " : "");
        }
        cs_buf_adds(out, node->type == CS_NODE_GROUP ? "}" : ")");
        break;
    case CS_NODE_INT: cs_buf_addf(out, "%lldL", (long long)node->i); break;
    case CS_NODE_FLOAT: cs_buf_adds(out, "1.5"); break;
    case CS_NODE_BOOL: cs_buf_adds(out, node->i != 0 ? "true" : "false"); break;
    default:
        cs_buf_addc(out, '"');
        for (const char *s = node->s; *s != '\0'; s++) {
            if ((unsigned char)*s < ' ' || *s == '"' || *s == '\\' || (unsigned char)*s >= 0x7f)
                cs_buf_addf(out, "\\x%02x", (unsigned char)*s);
            else
                cs_buf_addc(out, *s);
        }
        cs_buf_addc(out, '"');
        break;
    }
}

static void same(const struct cs_node *a, const struct cs_node *b)
{
    FUZZ_CHECK(a->type == b->type && a->n == b->n && a->i == b->i);
    FUZZ_CHECK((a->s == NULL) == (b->s == NULL) && (a->s == NULL || strcmp(a->s, b->s) == 0));
    for (size_t i = 0; i < a->n; i++) {
        FUZZ_CHECK(a->type != CS_NODE_GROUP ||
                   strcmp(a->children[i].name, b->children[i].name) == 0);
        same(&a->children[i], &b->children[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cs_conf_scan_error scan;
    struct cs_conf_error err = {""};
    struct cs_node *root = NULL, *again = NULL;
    struct cs_buf b;

    int scanned = cs_conf_scan((const char *)data, size, &scan);
    int r = cs_conf_file_parse("f", (const char *)data, size, &root, &err);
    if (r != 0) {
        FUZZ_CHECK(r == -EINVAL && err.text[0] == 'f' && root == NULL);
        return 0;
    }
    FUZZ_CHECK(scanned == 0 || (size >= 3 && data[0] == 0xEF));
    cs_buf_init(&b, 0);
    for (size_t i = 0; i < root->n; i++) {
        cs_buf_addf(&b, "%s = ", root->children[i].name);
        print_node(&root->children[i], &b);
        cs_buf_adds(&b, ";\n");
    }
    FUZZ_CHECK(cs_buf_failed(&b) == 0);
    r = cs_conf_file_parse("f", b.data != NULL ? b.data : "", b.len, &again, &err);
    if (r != 0)
        (void)fprintf(stderr, "%s\n%s\n", err.text, b.data);
    FUZZ_CHECK(r == 0);
    same(root, again);
    cs_node_free(root);
    cs_node_free(again);
    cs_buf_clear(&b);
    return 0;
}
