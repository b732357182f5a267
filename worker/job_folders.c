/* job_folders.c - the folder tree afresh, with counts; well-known folders are resolved by alias, never by name, since names
 * are localised. Nothing is published. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/job_priv.h"

#define FOLDER_PAGE 100
#define PAGES_MAX   500 /* of a walk; more is a loop of links */

static const char *const aliases[] = {
    /* mailFolder: well-known names */
    "inbox",         "sentitems",
    "drafts",        "deleteditems",
    "junkemail",     "outbox",
    "archive",       "clutter",
    "conflicts",     "conversationhistory",
    "localfailures", "serverfailures",
    "syncissues",    "scheduled",
    "searchfolders", "recoverableitemsdeletions",
    "msgfolderroot",
};
#define N_ALIASES (sizeof(aliases) / sizeof(aliases[0]))

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply);

static void ask(struct cs_job_run *run, char *path)
{
    struct cs_call *call = cs_run_call(run, path, CS_ASKED_MAILBOX, on_page, 0);

    if (call != NULL)
        call->page_size = FOLDER_PAGE;
}

static int64_t count_of(struct cs_js item, const char *name)
{
    int64_t v = 0;

    return cs_js_i64(cs_js_get(item, name), &v) == 0 && v > 0 ? v : 0;
}

static void clear_found(struct cs_folder_found *found)
{
    free(found->id);
    free(found->parent_id);
    free(found->name);
    free(found->well_known);
}

/* An entry without a usable id is no folder, but a lack of memory is no reason to lose one: a folder that the tree does
 * not have is taken for gone. */
static int read_folder(struct cs_js item, struct cs_folder_found *ret)
{
    struct cs_js id = cs_js_get(item, "id"), parent = cs_js_get(item, "parentFolderId");
    char type[64] = "", text[CS_ID_MAX + 1];

    memset(ret, 0, sizeof(*ret));
    if (cs_js_str_into(id, text, sizeof(text)) <= 0)
        return -EINVAL;
    ret->id = strdup(text);
    if (cs_js_str_into(parent, text, sizeof(text)) > 0)
        ret->parent_id = strdup(text);
    else
        parent = (struct cs_js){0};
    ret->name = cs_js_strdup(cs_js_get(item, "displayName"), CS_PATH_MAX);
    if (ret->name == NULL)
        ret->name = strdup("");
    (void)cs_js_str_into(cs_js_get(item, "@odata.type"), type, sizeof(type));
    ret->search_folder = strcmp(type, "#microsoft.graph.mailSearchFolder") == 0;
    (void)cs_js_bool(cs_js_get(item, "isHidden"), &ret->hidden);
    ret->total = count_of(item, "totalItemCount");
    ret->unread = count_of(item, "unreadItemCount");
    if (ret->id == NULL || ret->name == NULL || (parent.p != NULL && ret->parent_id == NULL)) {
        clear_found(ret);
        return -ENOMEM;
    }
    return 0;
}

/* The same folder again in a walk: the last word counts. */
static void add_folder(struct cs_job_run *run, struct cs_js item)
{
    struct cs_feedback *f = cs_run_feedback(run);
    struct cs_folder_found found, *folders;
    size_t at = 0;
    int r = read_folder(item, &found);

    if (r == -EINVAL)
        return;
    while (r == 0 && at < f->n_folders && strcmp(f->folders[at].id, found.id) != 0)
        at++;
    if (r == 0 && cs_js_has(cs_js_get(item, "@removed"))) {
        clear_found(&found);
        if (at < f->n_folders) {
            clear_found(&f->folders[at]);
            f->folders[at] = f->folders[--f->n_folders];
        }
        return;
    }
    if (r == 0 && at < f->n_folders) {
        clear_found(&f->folders[at]);
        f->folders[at] = found;
        return;
    }
    folders = r == 0 && at < CS_FEEDBACK_FOLDERS_MAX
                  ? realloc(f->folders, (at + 1) * sizeof(*folders))
                  : NULL;
    if (folders == NULL) {
        if (r == 0)
            clear_found(&found);
        cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
        return;
    }
    f->folders = folders;
    f->folders[f->n_folders++] = found;
}

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_feedback *f = cs_run_feedback(run);
    struct cs_js_iter it = {0};
    struct cs_js item, link;
    char *text;
    struct cs_buf path;

    (void)call;
    if (!reply->ok) {
        cs_run_fail(run, &reply->verdict);
        return;
    }
    f->counts.pages++;
    while (!run->failed && cs_page_next(&reply->page, &it, &item, NULL)) {
        f->counts.items++;
        add_folder(run, item);
    }
    if (cs_js_has(reply->page.delta_link) || run->failed)
        return;
    link = reply->page.next_link;
    text = cs_js_strdup(link, CS_CURSOR_MAX);
    cs_buf_init(&path, 0);
    /* neither link: the walk is cut off. Too many pages: a loop of links. */
    if (text == NULL || f->counts.pages > PAGES_MAX ||
        cs_cursor_of_link(text, run->jobs->p.base_url, run->job.mailbox, &path) < 0) {
        cs_run_fail_code(run, CS_RETRY, CS_CODE_BAD_ANSWER);
        cs_buf_clear(&path);
    } else {
        ask(run, cs_buf_steal(&path, NULL));
    }
    free(text);
}

static enum cs_step walk(struct cs_job_run *run)
{
    ask(run, cs_run_path(run, "/mailFolders/delta"));
    return CS_STEP_NEXT;
}

static void on_alias(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                     const struct cs_verdict *why, struct cs_reply *reply)
{
    struct cs_feedback *f = cs_run_feedback(run);
    char id[CS_ID_MAX + 1];

    (void)reply;
    if (why != NULL) {
        if (status != 404 && status != 400) /* many mailboxes lack some of them */
            cs_run_fail(run, why);
        return;
    }
    if (cs_js_str_into(cs_js_get(body, "id"), id, sizeof(id)) <= 0)
        return;
    for (size_t i = 0; i < f->n_folders; i++)
        if (strcmp(f->folders[i].id, id) == 0 && f->folders[i].well_known == NULL &&
            (f->folders[i].well_known = strdup(aliases[member])) == NULL)
            cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    if (strcmp(aliases[member], "msgfolderroot") == 0)
        for (size_t i = 0; i < f->n_folders; i++)
            if (f->folders[i].parent_id != NULL && strcmp(f->folders[i].parent_id, id) == 0) {
                free(f->folders[i].parent_id); /* top folders have no parent for us */
                f->folders[i].parent_id = NULL;
            }
}

static enum cs_step resolve(struct cs_job_run *run)
{
    cs_read_clear(&run->reads);
    run->reads.asked = CS_ASKED_FOLDER;
    run->reads.fn = on_alias;
    for (size_t i = 0; i < N_ALIASES; i++) {
        char rest[80], *path;

        snprintf(rest, sizeof(rest), "/mailFolders/%s?$select=id", aliases[i]);
        path = cs_run_path(run, "%s", rest);
        if (path != NULL)
            memmove(path, path + 5, strlen(path + 5) + 1); /* a list's paths are behind /v1.0 */
        if (cs_read_add(&run->reads, path) < 0) {
            cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
            return CS_STEP_END;
        }
    }
    cs_read_start(run, &run->reads);
    return CS_STEP_NEXT;
}

static enum cs_step report(struct cs_job_run *run)
{
    cs_run_feedback(run)->has_folders = true;
    return CS_STEP_END;
}

const struct cs_job_step cs_job_folders_steps[] = {
    {"walk", walk},
    {"resolve", resolve},
    {"report", report},
    {NULL, NULL},
};
