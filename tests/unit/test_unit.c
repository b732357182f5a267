/* What a finished job leaves: which messages, in which order, under which keys. */
#include "worker/unit.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/tenant.h"

static char tenant_name[] = "acme";
static const struct cs_tenant acme = {.name = tenant_name};
static const struct cs_record_ctx ctx = {
    .tenant = &acme,
    .mailbox = "ann@contoso.example",
    .job_id = "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42",
    .lane = "live",
    .observed_utc_ms = INT64_C(1767225600000),
    .max_bytes = CS_RECORD_DEFAULT_BYTES,
};

static void upsert(struct cs_record *rec)
{
    const struct cs_record_head head = {.kind = CS_KIND_EMAIL,
                                        .change = CS_UPSERTED,
                                        .item_id = "one",
                                        .graph_id = "one",
                                        .change_key = "ck",
                                        .last_modified_utc_ms = CS_NEVER};

    assert_int_equal(cs_record_build(&ctx, &head, NULL, NULL, (struct cs_js){0}, false, rec), 0);
    assert_int_equal(cs_record_set_folder(rec, "inbox"), 0);
}

static void deletion(struct cs_record *rec)
{
    assert_int_equal(cs_record_removed(&ctx, CS_KIND_EMAIL, CS_DELETED, "two", "two", rec), 0);
}

static void make(struct cs_unit **u, bool claim)
{
    struct cs_record records[2];

    upsert(&records[0]);
    deletion(&records[1]);
    *u = cs_unit_new(3, 17);
    assert_non_null(*u);
    assert_int_equal(cs_unit_add_records(*u, records, 2, claim), 0);
    assert_null(records[0].value); /* moved, not copied */
    cs_record_clear(&records[0]);
    cs_record_clear(&records[1]);
}

static void test_records_and_index_share_their_keys(void **state)
{
    struct cs_unit *u;

    (void)state;
    make(&u, false);
    assert_int_equal(u->n[CS_STAGE_CLAIM], 0);
    assert_int_equal(u->n[CS_STAGE_RECORDS], 2);
    assert_int_equal(u->n[CS_STAGE_INDEX], 2);
    for (size_t i = 0; i < 2; i++) {
        const struct cs_outbound *rec = &u->messages[CS_STAGE_RECORDS][i],
                                 *index = &u->messages[CS_STAGE_INDEX][i];

        assert_int_equal(rec->topic, CS_TOPIC_RECORDS);
        assert_int_equal(index->topic, CS_TOPIC_INDEX);
        assert_string_equal(rec->key, index->key);
        assert_string_equal(rec->ce_id, index->ce_id);
    }
    assert_string_equal(u->messages[CS_STAGE_RECORDS][0].key, "acme/ann@contoso.example/email/one");
    assert_string_equal(u->messages[CS_STAGE_RECORDS][0].ce_type, "crmsync.email.upserted.v1");
    assert_non_null(strstr(u->messages[CS_STAGE_INDEX][0].value, "\"ck\""));
    assert_non_null(u->messages[CS_STAGE_RECORDS][1].value); /* a deletion is a record ... */
    assert_null(u->messages[CS_STAGE_INDEX][1].value);       /* ... and no entry any more */
    cs_unit_free(u);
}

/* Without transactions a crash may come between any two stages: what is in doubt then differs from every version. */
static void test_a_claim_has_no_version_and_is_for_upserts(void **state)
{
    struct cs_unit *u;

    (void)state;
    make(&u, true);
    assert_int_equal(u->n[CS_STAGE_CLAIM], 1);
    assert_string_equal(u->messages[CS_STAGE_CLAIM][0].key, "acme/ann@contoso.example/email/one");
    assert_non_null(strstr(u->messages[CS_STAGE_CLAIM][0].value, "\"change_key\":null"));
    cs_unit_free(u);
}

static void test_feedback_carries_the_trace(void **state)
{
    struct cs_feedback f = {
        .type = CS_JOB_FOLDERS, .lane = CS_LANE_LIVE, .attempt = 3, .retry_after_ms = -1};
    struct cs_unit *u = cs_unit_new(3, 17);
    const struct cs_outbound *m;

    (void)state;
    assert_non_null(u);
    strcpy(f.job_id, ctx.job_id);
    strcpy(f.tenant, "acme");
    strcpy(f.mailbox, ctx.mailbox);
    assert_int_equal(cs_unit_add_feedback(u, &f), 0);
    m = &u->messages[CS_STAGE_FEEDBACK][0];
    assert_int_equal(m->topic, CS_TOPIC_FEEDBACK);
    assert_string_equal(m->key, "acme/ann@contoso.example");
    assert_string_equal(m->ce_id, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42-3");
    assert_string_equal(u->trace, ctx.job_id);
    assert_int_equal(u->bytes, m->key_len + m->value_len);
    cs_unit_free(u);
}

static void test_a_dead_letter_keeps_any_key_and_no_content(void **state)
{
    static const char key[] = "a\0b\xff";
    const struct cs_dlq d = {.topic = CS_TOPIC_JOBS,
                             .partition = 3,
                             .offset = 17,
                             .reason = CS_DLQ_JOB_INVALID,
                             .detail = "parts",
                             .written_utc_ms = INT64_C(1767225600000)};
    struct cs_unit *u = cs_unit_new(3, 17);
    const struct cs_outbound *m;

    (void)state;
    assert_non_null(u);
    assert_int_equal(cs_unit_add_dead_letter(u, &d, key, sizeof(key) - 1), 0);
    assert_int_equal(cs_unit_add_dead_letter(u, &d, NULL, 0), 0);
    m = u->messages[CS_STAGE_FEEDBACK];
    assert_int_equal(m[0].key_len, sizeof(key) - 1);
    assert_memory_equal(m[0].key, key, sizeof(key) - 1);
    assert_null(m[1].key);
    assert_string_equal(
        m[0].value,
        "{\"topic\":\"jobs.v1\",\"partition\":3,\"offset\":17,\"reason\":\"job_invalid\","
        "\"detail\":\"parts\",\"written_at\":\"2026-01-01T00:00:00.000Z\"}");
    cs_unit_clear(u);
    assert_int_equal(u->bytes, 0);
    assert_int_equal(u->n[CS_STAGE_FEEDBACK], 0);
    cs_unit_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_and_index_share_their_keys),
        cmocka_unit_test(test_a_claim_has_no_version_and_is_for_upserts),
        cmocka_unit_test(test_feedback_carries_the_trace),
        cmocka_unit_test(test_a_dead_letter_keeps_any_key_and_no_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
