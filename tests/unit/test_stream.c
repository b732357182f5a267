/* producer/stream.c, table.c, strmap.c: state.v1 both ways, what is refused, what is ignored. */
#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/stream.h"
#include "producer/table.h"

#define T INT64_C(1764000000000)

static const struct cs_tenant tenant = {
    .backfill_days = 30, .calendar_past_days = 1, .calendar_future_days = 10};

struct entries {
    struct cs_strmap map;
    size_t deleted;
    struct cs_restore *restore;
};

static int keep(void *user, const char *stream, const char *value, size_t len)
{
    struct entries *e = user;
    char key[2048];
    void *old = NULL;

    snprintf(key, sizeof(key), "acme/ann@contoso.example/%s", stream);
    if (e->restore != NULL)
        assert_int_equal(cs_restore_entry(e->restore, key, strlen(key), value, len), 0);
    if (value == NULL) {
        e->deleted++;
        free(cs_strmap_remove(&e->map, stream, strlen(stream)));
        return 0;
    }
    assert_int_equal(cs_strmap_put(&e->map, stream, strlen(stream), strndup(value, len), &old), 0);
    free(old);
    return 0;
}

static void drop(struct entries *e)
{
    size_t slot = 0;
    void *v;

    while ((v = cs_strmap_next(&e->map, &slot, NULL)) != NULL)
        free(v);
    cs_strmap_clear(&e->map);
    cs_restore_free(e->restore);
}

/* A mailbox with something of everything. */
static struct cs_mailbox *make(void)
{
    struct cs_mailbox *m = NULL;
    struct cs_box_folder *f = NULL;
    struct cs_look look = {.id = (char *)(uintptr_t) "m-1",
                           .why = CS_WHY_LOOK,
                           .seen = CS_SEEN_AT,
                           .folder = (char *)(uintptr_t) "f-1",
                           .change_key = (char *)(uintptr_t) "k"};
    struct cs_cal_row row = {.id = (char *)(uintptr_t) "e-1",
                             .item_id = (char *)(uintptr_t) "e-1",
                             .type = 's',
                             .start_utc_ms = T,
                             .end_utc_ms = T + 1000};

    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 3, &m), 0);
    cs_mailbox_configure(m, &tenant, T);
    assert_int_equal(cs_mailbox_add_folder(m, "f-1", &f), 0);
    f->known = f->in_scope = true;
    f->path = strdup("In\"box/\xc3\xa4");
    f->well_known = strdup("inbox");
    f->has_stream = f->dirty = true;
    f->phase = CS_STREAM_LIVE;
    f->generation = 4;
    f->cursor = strdup("/v1.0/users/ann/x?$deltatoken=a&b=\"c\"");
    f->last_round_ms = T - 5000;
    f->rounds = 17;
    f->last_poll_ms = T;
    f->interval_ms = 30000;
    f->resync_owed = true;
    assert_int_equal(cs_mailbox_add_folder(m, "f-out", &f), 0);
    f->known = true;
    m->map_dirty = true;
    m->phase = CS_BOX_LIVE;
    m->slices = calloc(2, sizeof(*m->slices));
    m->slices[0] =
        (struct cs_box_slice){.id = 0, .from_ms = T - 1000, .to_ms = CS_NEVER, .done = true};
    m->slices[1] = (struct cs_box_slice){
        .id = 1, .from_ms = CS_NEVER, .to_ms = T - 1000, .cursor = strdup("2025-01-01T00:00:00Z")};
    m->n_slices = 2;
    m->slices_dirty = true;
    assert_int_equal(cs_mailbox_owe(m, &look, T - 77), 0);
    assert_int_equal(cs_calendar_add_row(&m->cal, &row, CS_ROW_OWED), 0);
    m->cal.table_dirty = true;
    m->fault.code = CS_CODE_THROTTLED;
    m->fault.scope = CS_SCOPE_MAILBOX;
    m->fault.http_status = 429;
    m->failures = 2;
    m->retry_ms = T + 900;
    m->counters.upserts = 5;
    m->inflight = calloc(1, sizeof(*m->inflight));
    snprintf(m->inflight->job_id, sizeof(m->inflight->job_id),
             "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d3f");
    m->inflight->type = CS_JOB_MAIL_ITEMS;
    m->inflight->lane = CS_LANE_LIVE;
    m->inflight->attempt = 3;
    m->inflight->reason = "second_look";
    m->inflight->created_ms = T;
    m->looks[0].at[0].asked = true;
    m->dirty = true;
    return m;
}

static struct cs_mailbox *load(const struct entries *e)
{
    struct cs_mailbox *m = NULL;
    const char *stream, *reason = "";
    size_t slot = 0;
    char *value;

    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 3, &m), 0);
    while ((value = cs_strmap_next(&e->map, &slot, &stream)) != NULL)
        if (cs_stream_load(m, stream, strlen(stream), value, strlen(value), &reason) < 0)
            fail_msg("%s: %s", stream, reason);
    assert_int_equal(cs_stream_loaded(m, &reason), 0);
    return m;
}

/* What is written and read back is written the same again. */
static void test_round_trip(void **state)
{
    struct entries first = {0}, second = {0};
    struct cs_mailbox *m = make(), *back;
    const char *stream;
    size_t slot = 0;
    char *value;

    (void)state;
    assert_true(cs_stream_is_dirty(m));
    assert_int_equal(cs_stream_flush(m, keep, &first), 0);
    assert_false(cs_stream_is_dirty(m));
    assert_int_equal(first.map.n, 7); /* folders, folders/1, mail, slices, items, calendar, table */
    back = load(&first);
    assert_int_equal(back->phase, CS_BOX_LIVE);
    assert_int_equal(back->depth_ms, m->depth_ms);
    assert_int_equal(back->inflight->attempt, 3);
    assert_true(back->looks[0].at[0].asked);
    assert_int_equal(back->looks[0].at[0].owed_ms, T - 77);
    assert_string_equal(cs_mailbox_find_folder(back, cs_id_hash("f-1"))->cursor,
                        "/v1.0/users/ann/x?$deltatoken=a&b=\"c\"");
    assert_false(cs_mailbox_find_folder(back, cs_id_hash("f-out"))->has_stream);
    assert_int_equal(back->cal.rows[0].state, CS_ROW_OWED);
    back->dirty = back->map_dirty = back->slices_dirty = true;
    back->cal.dirty = back->cal.table_dirty = back->looks[0].dirty = true;
    cs_mailbox_find_folder(back, cs_id_hash("f-1"))->dirty = true;
    assert_int_equal(cs_stream_flush(back, keep, &second), 0);
    assert_int_equal(second.map.n, first.map.n);
    while ((value = cs_strmap_next(&first.map, &slot, &stream)) != NULL)
        assert_string_equal(value, cs_strmap_get(&second.map, stream, strlen(stream)));
    cs_mailbox_free(m);
    cs_mailbox_free(back);
    drop(&first);
    drop(&second);
}

/* Nothing changed: nothing is written. One cursor moved: one entry. */
static void test_only_what_changed_is_written(void **state)
{
    struct entries e = {0};
    struct cs_mailbox *m = make();

    (void)state;
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    drop(&e);
    memset(&e, 0, sizeof(e));
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    assert_int_equal(e.map.n, 0);
    cs_mailbox_find_folder(m, cs_id_hash("f-1"))->dirty = true;
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    assert_int_equal(e.map.n, 1);
    assert_non_null(cs_strmap_get(&e.map, "mail:f-1", 8));
    cs_mailbox_free(m);
    drop(&e);
}

/* More looks than an entry takes go to further entries; an entry that empties is deleted. */
static void test_looks_are_split(void **state)
{
    struct entries e = {0};
    struct cs_mailbox *m = make();
    char id[32];

    (void)state;
    for (int i = 0; i < 2500; i++) {
        struct cs_look look = {.id = id, .why = CS_WHY_LOOK, .seen = CS_SEEN_GONE};

        snprintf(id, sizeof(id), "more-%d", i);
        assert_int_equal(cs_mailbox_owe(m, &look, T), 0);
        assert_int_equal(cs_mailbox_owe(m, &look, T + 1), 0); /* the same item is owed once */
    }
    assert_int_equal(cs_mailbox_count_looks(m), 2501);
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    assert_non_null(cs_strmap_get(&e.map, "items", 5));
    assert_non_null(cs_strmap_get(&e.map, "items/2", 7));
    for (size_t i = 0; i < m->looks[2].n; i++)
        m->looks[2].at[i].asked = true;
    cs_mailbox_drop_asked(m);
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    assert_null(cs_strmap_get(&e.map, "items/2", 7));
    assert_int_equal(e.deleted, 1);
    cs_mailbox_free(m);
    drop(&e);
}

/* A left-over is told by nobody again, so a look does not replace it. */
static void test_a_leftover_stays_one(void **state)
{
    struct cs_mailbox *m = make();
    struct cs_look left = {.id = (char *)(uintptr_t) "m-9", .why = CS_WHY_LEFTOVER};
    struct cs_look look = {
        .id = (char *)(uintptr_t) "m-9", .why = CS_WHY_LOOK, .seen = CS_SEEN_GONE};
    size_t e = 0, i = 0;
    struct cs_box_look *found;

    (void)state;
    assert_int_equal(cs_mailbox_owe(m, &left, T), 0);
    assert_int_equal(cs_mailbox_owe(m, &look, T), 0);
    while ((found = cs_mailbox_next_look(m, &e, &i)) != NULL)
        if (strcmp(found->look.id, "m-9") == 0)
            assert_int_equal(found->look.why, CS_WHY_LEFTOVER);
    assert_int_equal(cs_mailbox_count_looks(m), 2);
    cs_mailbox_free(m);
}

/* The bound on looks has an answer. */
static void test_looks_have_a_bound(void **state)
{
    struct cs_mailbox *m = make();
    struct cs_look look = {.why = CS_WHY_LOOK, .seen = CS_SEEN_GONE};
    char id[32];
    int r = 0;

    (void)state;
    look.id = id;
    for (int i = 0; r == 0 && i < CS_BOX_LOOKS_MAX; i++) {
        snprintf(id, sizeof(id), "%d", i);
        r = cs_mailbox_owe(m, &look, T);
    }
    assert_int_equal(r, -E2BIG);
    assert_int_equal(cs_mailbox_count_looks(m), CS_BOX_LOOKS_MAX);
    cs_mailbox_free(m);
}

static void refuse(const char *stream, const char *value, int error)
{
    struct cs_mailbox *m = NULL;
    const char *reason = NULL;

    assert_int_equal(cs_mailbox_new("acme", "ann", 0, &m), 0);
    assert_int_equal(cs_stream_load(m, stream, strlen(stream), value, strlen(value), &reason),
                     error);
    if (error < 0)
        assert_non_null(reason);
    cs_mailbox_free(m);
}

/* Missing and ill-typed fields are refused, unknown ones ignored. */
static void test_what_is_refused(void **state)
{
    (void)state;
    refuse("mail:f", "{", -EBADMSG);
    refuse("mail:f", "[]", -EINVAL);
    refuse("mail:f", "{\"kind\":\"mail\",\"phase\":\"live\",\"rounds\":1}", -EINVAL);
    refuse("mail:f", "{\"kind\":\"mail\",\"phase\":\"odd\",\"generation\":1,\"rounds\":1}",
           -EINVAL);
    refuse("mail:f", "{\"kind\":\"mail\",\"phase\":\"live\",\"generation\":\"1\",\"rounds\":1}",
           -EINVAL);
    refuse("mail:f",
           "{\"kind\":\"mail\",\"phase\":\"live\",\"generation\":1,\"rounds\":1,\"new\":{}}", 0);
    refuse("mail:", "{}", -EINVAL);
    refuse("nonsense", "{}", -EINVAL);
    refuse("items/01", "{\"items\":[]}", -EINVAL);
    refuse("items/x", "{\"items\":[]}", -EINVAL);
    refuse("items", "{\"items\":[{\"owed_since\":\"2026-01-01T00:00:00.000Z\"}]}", -EINVAL);
    refuse("slices", "{\"slices\":[{\"id\":0,\"from\":null,\"to\":null}]}", -EINVAL);
    refuse("cal:default", "{\"phase\":\"live\",\"generation\":1,\"rounds\":0,\"table_entries\":0}",
           -EINVAL);
    refuse("folders", "{\"phase\":\"parked\"}", -EINVAL);
}

static void count_bad(void *user, const char *key, const char *reason)
{
    size_t *n = user;

    assert_non_null(key);
    assert_non_null(reason);
    (*n)++;
}

/* A partition is rebuilt from its entries: the last of a key counts, a deleted one is gone, and a mailbox
 * with an entry that cannot be read is kept, marked, while its neighbour is well. */
static void test_a_partition_is_rebuilt(void **state)
{
    struct entries e = {0};
    struct cs_mailbox *m = make(), *back;
    struct cs_table_part *part = NULL;
    size_t bad = 0;

    (void)state;
    assert_int_equal(cs_restore_new(3, &e.restore), 0);
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    m->counters.upserts = 99;
    m->dirty = true;
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    assert_int_equal(cs_restore_entry(e.restore, "acme/bob@contoso.example/folders", 32, "{", 1),
                     0);
    assert_int_equal(cs_restore_entry(e.restore, "acme/gone@contoso.example/folders", 33, "{}", 2),
                     0);
    assert_int_equal(cs_restore_entry(e.restore, "acme/gone@contoso.example/folders", 33, NULL, 0),
                     0);
    assert_int_equal(cs_restore_finish(e.restore, count_bad, &bad, &part), 0);
    assert_int_equal(part->mailboxes.n, 2);
    assert_int_equal(bad, 1);
    assert_int_equal(part->broken, 1);
    back = cs_table_part_find(part, "acme", "ann@contoso.example");
    assert_non_null(back);
    assert_false(back->broken);
    assert_int_equal(back->counters.upserts, 99);
    assert_true(cs_table_part_find(part, "acme", "bob@contoso.example")->broken);
    assert_null(cs_table_part_find(part, "acme", "gone@contoso.example"));
    cs_table_part_free(part);
    cs_mailbox_free(m);
    drop(&e);
}

/* The map from strings stays right over many insertions and removals. */
static void test_strmap_keeps_what_it_was_given(void **state)
{
    static int values[5000];
    struct cs_strmap map = {0};
    char key[32];
    void *old;

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5000; i++) {
            snprintf(key, sizeof(key), "key-%d", i);
            assert_int_equal(cs_strmap_put(&map, key, strlen(key), &values[i], &old), 0);
        }
        assert_int_equal(map.n, 5000);
        for (int i = round; i < 5000; i += 3) {
            snprintf(key, sizeof(key), "key-%d", i);
            assert_ptr_equal(cs_strmap_remove(&map, key, strlen(key)), &values[i]);
            assert_null(cs_strmap_remove(&map, key, strlen(key)));
        }
        for (int i = 0; i < 5000; i++) {
            snprintf(key, sizeof(key), "key-%d", i);
            if (i >= round && (i - round) % 3 == 0)
                assert_null(cs_strmap_get(&map, key, strlen(key)));
            else
                assert_ptr_equal(cs_strmap_get(&map, key, strlen(key)), &values[i]);
        }
    }
    assert_null(cs_strmap_get(&map, "key-", 4));
    cs_strmap_clear(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_only_what_changed_is_written),
        cmocka_unit_test(test_looks_are_split),
        cmocka_unit_test(test_a_leftover_stays_one),
        cmocka_unit_test(test_looks_have_a_bound),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_partition_is_rebuilt),
        cmocka_unit_test(test_strmap_keeps_what_it_was_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
