/* Jobs of every type while memory runs out, once at each allocation: the job ends as `retry`, or is not begun, or the item
 * whose read failed is handed back; nothing is half said, and the next job is whole. The service is a process of its own, so that only our
 * allocations fail. */
#include "worker/job_run.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/script_server.h"
#include "worker/zone.h"

#define ALLOCATIONS_MAX 5000
#define DEADLINE_MS     20000
#define MESSAGE(id, folder)                                                                    \
    "{\"id\":\"" id "\",\"changeKey\":\"k" id "\",\"parentFolderId\":\"" folder                \
    "\",\"subject\":\"s\","                                                                    \
    "\"receivedDateTime\":\"2026-11-01T10:00:00Z\",\"sentDateTime\":\"2026-11-01T10:00:00Z\"," \
    "\"hasAttachments\":true,\"isRead\":true,\"isDraft\":false,\"body\":{\"contentType\":"     \
    "\"html\","                                                                                \
    "\"content\":\"<p>x</"                                                                     \
    "p>\"},\"from\":{\"emailAddress\":{\"name\":\"N\",\"address\":\"n@x.example\"}},"          \
    "\"toRecipients\":[{\"emailAddress\":{\"name\":\"M\",\"address\":\"m@x.example\"}}]}"
#define AT(day, hour) \
    "{\"dateTime\":\"2026-11-" day "T" hour ":00:00.0000000\",\"timeZone\":\"UTC\"}"
#define EVENT(id, type, more)                                       \
    "{\"id\":\"" id "\",\"changeKey\":\"k" id "\",\"type\":\"" type \
    "\",\"subject\":\"s\",\"showAs\":\"busy\","                     \
    "\"sensitivity\":\"normal\",\"start\":" AT("10", "09") ",\"end\":" AT("10", "10") more "}"
#define STUB(day)                                                                          \
    "{\"id\":\"o" day "\",\"type\":\"occurrence\",\"seriesMasterId\":\"m\",\"start\":" AT( \
        day, "09") ",\"end\":" AT(day, "10") "}"
#define GONE "{\"error\":{\"code\":\"ErrorItemNotFound\",\"message\":\"x\"}}"

/* ---- the service ---------------------------------------------------------------------------------------- */

static struct {
    const char *match, *status, *body; /* %s: the service's own root */
} const answers[] = {
    {"/oauth2/v2.0/token", "200 OK",
     "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"t\"}"},
    {"/messages/delta", "200 OK",
     "{\"value\":[{\"id\":\"A\",\"changeKey\":\"kA\",\"parentFolderId\":\"in\","
     "\"receivedDateTime\":\"2026-11-01T10:00:00Z\"},"
     "{\"id\":\"B\",\"@removed\":{\"reason\":\"deleted\"}},"
     "{\"id\":\"C\",\"changeKey\":\"kC\",\"parentFolderId\":\"in\",\"receivedDateTime\":\"2026-11-"
     "01T10:00:00Z\"}],"
     "\"@odata.deltaLink\":\"%s/v1.0/users('ann@x.example')/mailFolders('in')/messages/"
     "delta?$deltatoken=d\"}"},
    {"/mailFolders/delta", "200 OK",
     "{\"value\":[{\"id\":\"in\",\"displayName\":\"Inbox\",\"parentFolderId\":\"root\","
     "\"totalItemCount\":3},"
     "{\"id\":\"sub\",\"displayName\":\"Sub\",\"parentFolderId\":\"in\"}],\"@odata.deltaLink\":\"%"
     "s/v1.0/users/x/y\"}"},
    {"/mailFolders/inbox?$select=id\"", "200 OK",
     "{\"responses\":[{\"id\":\"0\",\"status\":200,\"body\":{\"id\":\"in\"}},{\"id\":\"16\","
     "\"status\":200,\"body\":{\"id\":\"root\"}}]}"},
    {"/attachments?", "200 OK",
     "{\"responses\":[{\"id\":\"0\",\"status\":200,\"body\":{\"value\":[{\"id\":\"a\",\"name\":"
     "\"f\",\"size\":3}]}},"
     "{\"id\":\"1\",\"status\":200,\"body\":{\"value\":[]}}],\"value\":[]}"},
    {"/calendarView/delta", "200 OK",
     "{\"value\":[" EVENT("s", "singleInstance", "") "," EVENT(
         "m", "seriesMaster",
         ",\"recurrence\":{}") "," STUB("11") "," STUB("12") ",{\"id\":\"r\",\"@removed\":{"
                                                             "\"reason\":\"deleted\"}}],"
                                                             "\"@odata.deltaLink\":\"%s/v1.0/users/"
                                                             "x/calendarView/"
                                                             "delta?$deltatoken=d\"}"},
    {"/events/row", "200 OK",
     "{\"responses\":[{\"id\":\"0\",\"status\":404,\"body\":" GONE
     "},{\"id\":\"1\",\"status\":200,\"body\":" EVENT("row2", "singleInstance", "") "}]}"},
    {"/calendarView?", "200 OK", "{\"value\":[{\"id\":\"row2\"}]}"},
    {"/events/m?", "200 OK",
     EVENT("m", "seriesMaster", ",\"recurrence\":{},\"cancelledOccurrences\":[]")},
    {"\"/users/ann%%40x.example/messages/A?", "200 OK",
     "{\"responses\":[{\"id\":\"2\",\"status\":200,\"body\":" MESSAGE(
         "C", "in") "},{\"id\":\"0\",\"status\":200,\"body\":" MESSAGE("A", "in") "},{\"id\":\"1\","
                                                                                  "\"status\":404,"
                                                                                  "\"body\":" GONE
                                                                                  "}]}"},
    {"/messages/A?", "200 OK", MESSAGE("A", "in")},
    {"/messages/C?", "200 OK", MESSAGE("C", "in")},
    {"/messages?", "200 OK", "{\"value\":[" MESSAGE("A", "in") "," MESSAGE("C", "in") "]}"},
    {"/messages/", "404 Not Found", GONE},
    {"", "200 OK", "{\"id\":\"x\"}"},
};
#define N_ANSWERS (sizeof(answers) / sizeof(answers[0]))

static char base[64];
static pid_t service;
static int hold_fd;

static void serve(int port_fd, int until_fd)
{
    static struct script_route routes[N_ANSWERS];
    struct script_server *s = script_server_start_routes(routes);
    char root[64], c;
    int port;

    if (s == NULL)
        _exit(1);
    port = script_server_port(s);
    snprintf(root, sizeof(root), "http://127.0.0.1:%d", port);
    for (size_t i = 0; i < N_ANSWERS; i++) {
        const char *at = strstr(answers[i].body, "%s");
        char *body = NULL, *text = NULL, *match = NULL;

        if (asprintf(&body, "%.*s%s%s",
                     at != NULL ? (int)(at - answers[i].body) : (int)strlen(answers[i].body),
                     answers[i].body, at != NULL ? root : "", at != NULL ? at + 2 : "") < 0 ||
            asprintf(&text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", answers[i].status,
                     strlen(body), body) < 0 ||
            (match = strdup(answers[i].match)) == NULL)
            _exit(1);
        if (strstr(match, "%%") != NULL)
            memmove(strstr(match, "%%"), strstr(match, "%%") + 1, strlen(strstr(match, "%%")));
        routes[i] = (struct script_route){match, text};
        free(body);
    }
    if (write(port_fd, &port, sizeof(port)) != sizeof(port))
        _exit(1);
    (void)!read(until_fd, &c, 1); /* until the test closes its end, or is gone */
    _exit(0);
}

static int start_service(void **state)
{
    int port_pipe[2], hold_pipe[2], port;

    (void)state;
    if (pipe(port_pipe) < 0 || pipe(hold_pipe) < 0 || (service = fork()) < 0)
        return -1;
    if (service == 0) {
        close(hold_pipe[1]);
        serve(port_pipe[1], hold_pipe[0]);
    }
    close(port_pipe[1]);
    close(hold_pipe[0]);
    hold_fd = hold_pipe[1];
    if (read(port_pipe[0], &port, sizeof(port)) != sizeof(port))
        return -1;
    close(port_pipe[0]);
    snprintf(base, sizeof(base), "http://127.0.0.1:%d", port);
    return 0;
}

static int stop_service(void **state)
{
    int status;

    (void)state;
    close(hold_fd);
    return waitpid(service, &status, 0) == service && WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? 0
               : -1;
}

/* ---- the engine ----------------------------------------------------------------------------------------- */

struct engine {
    struct cs_metrics *metrics;
    struct cs_http *http;
    struct cs_tokens *tokens;
    struct cs_throttle *throttle;
    struct cs_jobs *jobs;
    bool finished;
    struct cs_job_output *out;
};

static char tenant_name[] = "acme", tenant_id[] = "t", client_id[] = "c",
            mailbox[] = "ann@x.example", env_name[] = "CS_TEST_SECRET";
static struct cs_credential credential = {.secret_env = env_name};
static char *mailboxes[] = {mailbox};
static struct cs_tenant tenant = {.name = tenant_name,
                                  .tenant_id = tenant_id,
                                  .client_id = client_id,
                                  .credentials = &credential,
                                  .n_credentials = 1,
                                  .mailboxes = mailboxes,
                                  .n_mailboxes = 1};
static struct cs_tenant *tenants[] = {&tenant};
static struct cs_tenant_set set = {.tenants = tenants, .n = 1, .refs = 1};
static struct cs_zones *zones;

static void on_finished(void *user, void *tag, struct cs_job_output *out)
{
    struct engine *e = user;

    (void)tag;
    e->finished = true;
    e->out = out;
}

static void open_engine(struct engine *e)
{
    struct cs_http_params http = {.connect_timeout_ms = 5000,
                                  .request_timeout_ms = 5000,
                                  .max_body_bytes = 1000000,
                                  .max_connections = 8};
    struct cs_jobs_params p = {.base_url = base,
                               .record_max_bytes = 100000,
                               .zones = zones,
                               .on_finished = on_finished,
                               .user = e};

    memset(e, 0, sizeof(*e));
    assert_int_equal(cs_metrics_new(&e->metrics), 0);
    http.metrics = e->metrics;
    assert_int_equal(cs_http_new(&http, &e->http), 0);
    assert_int_equal(cs_tokens_new(e->http, base, base, 60000, NULL, e->metrics, &e->tokens), 0);
    assert_int_equal(cs_throttle_new(&e->throttle), 0);
    p.http = e->http;
    p.tokens = e->tokens;
    p.throttle = e->throttle;
    p.metrics = e->metrics;
    p.limits.job_ms = 60000;
    p.limits.pages = 10;
    p.limits.items = 500;
    p.limits.bytes = 10000000;
    p.limits.delta_page = p.limits.slice_page = 50;
    p.limits.short_wait_ms = 1000;
    p.limits.tries = 1;
    assert_int_equal(cs_jobs_new(&p, &set, &e->jobs), 0);
}

static void close_engine(struct engine *e)
{
    cs_jobs_free(e->jobs);
    cs_tokens_free(e->tokens);
    cs_http_free(e->http);
    cs_throttle_free(e->throttle);
    cs_metrics_free(e->metrics);
    assert_int_equal(set.refs, 1);
}

#define JOB(type, more)                                                                         \
    "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d40\",\"type\":\"" type                     \
    "\",\"tenant\":\"acme\",\"mailbox\":\"ann@x.example\","                                     \
    "\"lane\":\"live\",\"attempt\":1,\"reason\":\"test\",\"created_at\":\"2026-11-25T08:00:00." \
    "000Z\"" more "}"
#define FOLDERS ",\"folders\":[{\"id\":\"in\",\"path\":\"Inbox\",\"well_known\":\"inbox\"}]"

/* Runs the job with allocation n failing. NULL: it was not begun, or could not even say that it failed. */
static struct cs_job_output *run_job(struct engine *e, const char *text, unsigned n)
{
    int64_t until = cs_clock_mono_ms() + DEADLINE_MS;
    const char *reason;
    struct cs_job job;

    assert_int_equal(cs_job_parse(text, strlen(text), &job, &reason), 0);
    e->finished = false;
    e->out = NULL;
    fail_alloc_at(n);
    if (cs_jobs_start(e->jobs, &job, NULL) < 0)
        e->finished = true;
    while (!e->finished) {
        if (cs_clock_mono_ms() > until)
            fail_msg("allocation %u: the job does not end", n);
        cs_http_step(e->http);
        cs_jobs_step(e->jobs, cs_clock_mono_ms());
        if (!e->finished)
            cs_http_wait(e->http, NULL, 0, 20);
    }
    return e->out;
}

static void for_every_allocation(const char *text, size_t records)
{
    for (unsigned n = 1;; n++) {
        struct cs_job_output *out;
        struct engine e;
        bool hit;

        assert_true(n < ALLOCATIONS_MAX);
        open_engine(&e);
        out = run_job(&e, text, n);
        hit = fail_alloc_hit();
        fail_alloc_at(0);
        if (out != NULL && out->feedback.outcome == CS_DONE) {
            /* whole, but for what is handed back */
            if (out->n_records + out->feedback.n_left < records)
                fail_msg("allocation %u: %zu records, %zu left, and all is well?", n,
                         out->n_records, out->feedback.n_left);
        } else if (out != NULL) {
            if (out->feedback.outcome != CS_RETRY || out->n_records > 0 || out->feedback.n_left > 0)
                fail_msg("allocation %u: outcome %s, %zu records", n,
                         cs_outcome_name(out->feedback.outcome), out->n_records);
        } else {
            assert_true(hit);
        }
        if (!hit && (out == NULL || out->feedback.outcome != CS_DONE))
            fail_msg("nothing failed, and the job did not do well either: %s, %s",
                     out != NULL ? cs_outcome_name(out->feedback.outcome) : "no output",
                     out != NULL ? cs_code_name(out->feedback.fault.code) : "");
        cs_job_output_free(out);
        if (!hit) {
            assert_true(n > 20); /* there was something to fail */
            close_engine(&e);
            return;
        }
        assert_int_equal(cs_http_open(e.http), 0);
        close_engine(&e);
    }
}

static void test_folders(void **state)
{
    (void)state;
    for_every_allocation(JOB("folders", ""), 0);
}

static void test_mail_delta(void **state)
{
    (void)state;
    for_every_allocation(
        JOB("mail.delta", ",\"parts\":[{\"stream\":\"mail:in\",\"generation\":1,\"mode\":\"live\","
                          "\"folder\":{\"id\":\"in\",\"path\":\"Inbox\"}}]" FOLDERS),
        3);
}

static void test_mail_slice(void **state)
{
    (void)state;
    for_every_allocation(
        JOB("mail.slice", ",\"parts\":[{\"stream\":\"slices\",\"generation\":1,\"mode\":\"slice\","
                          "\"slice_id\":\"0\",\"window\":{\"from\":null,\"to\":null}}]" FOLDERS),
        2);
}

static void test_mail_items(void **state)
{
    (void)state;
    for_every_allocation(
        JOB("mail.items", ",\"items\":[{\"id\":\"A\",\"why\":\"leftover\",\"seen\":\"nothing\"},{"
                          "\"id\":\"B\",\"why\":\"look\",\"seen\":\"gone\"},{\"id\":\"C\",\"why\":"
                          "\"leftover\",\"seen\":\"nothing\"}]" FOLDERS),
        3);
}

static void test_calendar_delta(void **state)
{
    (void)state;
    for_every_allocation(
        JOB("calendar.delta",
            ",\"parts\":[{\"stream\":\"cal:default\",\"generation\":1,\"mode\":\"live\",\"window\":"
            "{\"from\":\"2026-10-01T00:00:00.000Z\",\"to\":\"2027-01-01T00:00:00.000Z\"}}],"
            "\"rows\":[{\"id\":\"row1\",\"item_id\":\"row1\",\"type\":\"single\",\"start\":\"2026-"
            "11-10T09:00:00.000Z\",\"end\":\"2026-11-10T10:00:00.000Z\"},"
            "{\"id\":\"row2\",\"item_id\":\"row2\",\"type\":\"single\",\"start\":\"2026-11-10T09:"
            "00:00.000Z\",\"end\":\"2026-11-10T10:00:00.000Z\"}]"),
        6);
}

static void test_probe(void **state)
{
    (void)state;
    for_every_allocation(JOB("probe", ""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders),        cmocka_unit_test(test_mail_delta),
        cmocka_unit_test(test_mail_slice),     cmocka_unit_test(test_mail_items),
        cmocka_unit_test(test_calendar_delta), cmocka_unit_test(test_probe),
    };

    signal(SIGPIPE, SIG_IGN);
    if (setenv(env_name, "secret", 1) != 0 || cs_zones_open(NULL, &zones) < 0)
        return 1;
    int r = cmocka_run_group_tests(tests, start_service, stop_service);
    cs_zones_close(zones);
    return r;
}
