/* folders.c - from the folder tree as a worker found it to the folder map and its streams. PURE. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/message.h"
#include "producer/apply.h"

#define DEPTH_MAX 300 /* Exchange itself allows 300 levels; a circle in the answer ends here */

struct node {
    const struct cs_folder_found *found;
    struct cs_box_folder *f;
    struct node *parent;
    int scope; /* -1 not decided yet, 0 out, 1 in */
};

void cs_folder_start(struct cs_box_folder *f, enum cs_stream_phase phase)
{
    f->has_stream = true;
    f->ended = false;
    f->generation++;
    f->phase = phase;
    free(f->cursor);
    f->cursor = NULL;
    cs_folder_forget_comparison(f);
    f->round_start_ms = CS_TIME_NONE;
    f->last_round_ms = CS_TIME_NONE;
    f->rounds = 0;
    f->interval_ms = 0;
    f->last_poll_ms = CS_TIME_NONE;
    f->retry_ms = CS_TIME_NONE;
    f->failures = 0;
    f->resync_owed = false;
    f->compared_ms = CS_TIME_NONE;
    f->dirty = true;
}

static int by_id(const void *a, const void *b)
{
    const struct node *x = a, *y = b;

    return strcmp(x->found->id, y->found->id);
}

static struct node *find_node(struct node *nodes, size_t n, const char *id)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(nodes[mid].found->id, id);

        if (c == 0)
            return &nodes[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* Display names from the top; a slash in a name is written %2F. */
static void path_of(const struct node *node, unsigned depth, struct cs_buf *out)
{
    if (node->parent != NULL && depth < DEPTH_MAX) {
        path_of(node->parent, depth + 1, out);
        cs_buf_addc(out, '/');
    }
    for (const char *s = node->found->name; *s != '\0'; s++) {
        if (*s == '/')
            cs_buf_adds(out, "%2F");
        else
            cs_buf_addc(out, *s);
    }
}

static void cut_utf8(char *s, size_t max)
{
    size_t n = strlen(s);

    if (n <= max)
        return;
    n = max;
    while (n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80)
        n--;
    s[n] = '\0';
}

/* In scope by the tenant's rules, its ancestors considered; a circle is out. */
static bool in_scope(struct cs_mailbox *m, struct node *node, unsigned depth)
{
    struct cs_folder_facts facts = {
        .id = node->found->id,
        .path = node->f->path,
        .well_known = node->found->well_known != NULL ? node->found->well_known : "",
        .hidden = node->found->hidden,
        .search_folder = node->found->search_folder,
    };
    bool above;

    if (node->scope >= 0)
        return node->scope == 1;
    if (depth >= DEPTH_MAX)
        return false;
    above = node->parent == NULL || in_scope(m, node->parent, depth + 1);
    node->scope = m->conf != NULL && cs_tenant_folder_in_scope(m->conf, &facts, above);
    return node->scope == 1;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static int set_text(struct cs_mailbox *m, char **text, const char *value)
{
    if (same_text(*text, value))
        return 0;
    m->map_dirty = true;
    return cs_mailbox_set_cursor(text, value);
}

static int name_node(struct cs_mailbox *m, struct node *node)
{
    struct cs_box_folder *f = node->f;
    struct cs_buf path;
    char *text;
    int r;

    cs_buf_init(&path, 0);
    path_of(node, 0, &path);
    text = cs_buf_steal(&path, NULL);
    if (text == NULL)
        return -ENOMEM;
    cut_utf8(text, CS_PATH_MAX);
    r = set_text(m, &f->path, text);
    free(text);
    if (r < 0)
        return r;
    r = set_text(m, &f->well_known, node->found->well_known);
    if (r < 0)
        return r;
    if (f->hidden != (node->found->hidden || node->found->search_folder)) {
        f->hidden = !f->hidden;
        m->map_dirty = true;
    }
    return 0;
}

/* Counts that changed say which folders to ask at once. Not kept over a restart: the first listing
 * after it only takes note. */
static void count_node(struct cs_box_folder *f, const struct cs_folder_found *found)
{
    if (f->counted && (f->total != found->total || f->unread != found->unread))
        f->asked_by_counts = true;
    f->counted = true;
    f->total = found->total;
    f->unread = found->unread;
}

static void come_in(struct cs_mailbox *m, struct cs_box_folder *f, bool was_known)
{
    bool early = m->phase == CS_BOX_NEW || m->phase == CS_BOX_PREVIEW || m->phase == CS_BOX_ANCHOR;

    if (f->has_stream) {
        /* it was in scope once and left: what is published of it is in doubt */
        if (f->phase == CS_STREAM_GONE_PENDING)
            cs_folder_start(f, CS_STREAM_RESYNC_PENDING);
        return;
    }
    if (early)
        cs_folder_start(f, CS_STREAM_ANCHOR);
    else if (was_known)
        cs_folder_start(f, CS_STREAM_RESYNC_PENDING); /* seen out of scope, even once */
    else
        cs_folder_start(f, CS_STREAM_FIRST); /* no slice is behind it: its first walk publishes */
}

static void go_out(struct cs_box_folder *f)
{
    if (f->has_stream && f->phase != CS_STREAM_GONE_PENDING) {
        cs_folder_start(f, CS_STREAM_GONE_PENDING);
        f->resync_owed = false;
    }
}

/* What a whole walk of the tree does not have is not there any more. */
static void forget_absent(struct cs_mailbox *m, struct node *nodes, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n_folders; i++) {
        struct cs_box_folder *f = m->folders[i];

        if (f->known && find_node(nodes, n, f->id) == NULL) {
            f->known = false;
            f->in_scope = false;
            f->counted = false;
            m->map_dirty = true;
            go_out(f);
        }
        if (f->known || f->has_stream || f->ended)
            m->folders[kept++] = f;
        else
            cs_folder_free(f);
    }
    m->n_folders = kept;
}

int cs_folders_apply(struct cs_mailbox *m, const struct cs_folder_found *found, size_t n)
{
    struct node *nodes = calloc(n + 1, sizeof(*nodes));
    int r = 0;

    if (nodes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        nodes[i] = (struct node){.found = &found[i], .scope = -1};
    qsort(nodes, n, sizeof(*nodes), by_id);
    for (size_t i = 0; i < n && r == 0; i++) {
        struct node *node = &nodes[i];

        if (node->found->parent_id != NULL)
            node->parent = find_node(nodes, n, node->found->parent_id);
        r = cs_mailbox_add_folder(m, node->found->id, &node->f);
    }
    for (size_t i = 0; i < n && r == 0; i++)
        r = name_node(m, &nodes[i]);
    if (r < 0)
        goto out;

    for (size_t i = 0; i < n; i++) {
        struct cs_box_folder *f = nodes[i].f;
        bool in = in_scope(m, &nodes[i], 0);
        bool was_known = f->known;

        if (!f->known || f->in_scope != in)
            m->map_dirty = true;
        f->known = true;
        f->in_scope = in;
        if (in)
            come_in(m, f, was_known);
        else
            go_out(f);
        count_node(f, nodes[i].found);
    }
    forget_absent(m, nodes, n);
out:
    free(nodes);
    return r;
}
