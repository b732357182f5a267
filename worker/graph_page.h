/* graph_page.h - bytes of a Graph answer to pages, items and errors. PURE.
 *
 * The bytes are checked strictly, once; every slice handed out points into them and lives as long
 * as they do. An answer that is not strict JSON is refused whole: no page is half published.
 */
#ifndef CS_WORKER_GRAPH_PAGE_H
#define CS_WORKER_GRAPH_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/json_slice.h"

#define CS_PAGE_DEPTH     40 /* nesting that Graph's answers may have */
#define CS_ERROR_CODE_MAX 64 /* as CS_GRAPH_CODE_MAX of common/verdict.h */
#define CS_BATCH_ID_MAX   32

struct cs_page {
    struct cs_js root;
    bool is_collection;     /* has a value array; else root is one item */
    struct cs_js value;     /* the array; {NULL,0} if not a collection */
    struct cs_js next_link; /* string, or {NULL,0}. Decode with cs_js_strdup(link, CS_CURSOR_MAX) */
    struct cs_js delta_link;            /* the same */
    bool is_error;                      /* the root has an error object */
    char error_code[CS_ERROR_CODE_MAX]; /* as cs_graph_error_code() */
};

/**
 * @param[out] err  may be NULL; offset and reason, written only on failure
 * @param[out] ret  written only on success
 * @return 0; -EBADMSG (not strict JSON, or cut off); -E2BIG (too deep); -EINVAL (no object, a "value" that
 *         is no array, or links that are no strings; offset is the offending value's)
 */
int cs_page_open(const char *p, size_t n, struct cs_page *ret, struct cs_js_error *err);
/** Iterates the items; *it starts as {0}. Elements that are no objects are skipped and counted in
 * *odd (may be NULL). */
bool cs_page_next(const struct cs_page *page, struct cs_js_iter *it, struct cs_js *item,
                  size_t *odd);

/**
 * The most detailed error code of a body: the innermost non-empty "code" along error and its nested
 * innerError (any casing); codes of digits only ("429") say nothing more than the status and do not
 * count, nor does one with more than [A-Za-z0-9_.-] in it, which might be content. Never the message.
 * Any bytes are accepted, an HTML page gives "".
 */
void cs_graph_error_code(const char *p, size_t n, char out[CS_ERROR_CODE_MAX]);
/** The same of a checked value (the body of a batch's member). */
void cs_graph_error_code_of(struct cs_js root, char out[CS_ERROR_CODE_MAX]);

/* One member of a $batch answer. */
struct cs_batch_part {
    char id[CS_BATCH_ID_MAX]; /* "" if unreadable: belongs to nobody */
    int status;               /* 0 if unreadable */
    struct cs_js headers;     /* object or {NULL,0} */
    struct cs_js body;        /* any value or {NULL,0}; an object for JSON answers */
};
/** Iterates "responses" of a batch's answer (in any order: go by id). *it starts as {0}. */
bool cs_batch_next(const struct cs_page *page, struct cs_js_iter *it, struct cs_batch_part *ret);
/**
 * A header by name, case ignored (of several the first).
 * @return length; -ENOENT; -EMSGSIZE (does not fit, or it is no string)
 */
int cs_batch_header(struct cs_js headers, const char *name, char *out, size_t size);

#endif
