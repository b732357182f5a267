/* The gate: which cursors and links may meet our bearer token. */
#include "worker/graph_url.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/job.h"

#define BASE "https://graph.microsoft.com"
#define ANN  "ann@contoso.example"

static void test_paths_are_escaped(void **state)
{
    struct cs_buf b;

    (void)state;
    cs_buf_init(&b, 0);
    cs_graph_user_path(&b, "a#b+c/d=e f@x.example");
    assert_string_equal(b.data, "/v1.0/users/a%23b%2Bc%2Fd%3De%20f%40x.example");
    cs_buf_clear(&b);
    cs_buf_init(&b, 0);
    cs_url_escape(&b, "AAk-._~'\xc3\xa9");
    assert_string_equal(b.data, "AAk-._~%27%C3%A9");
    cs_buf_clear(&b);
}

static void test_own_cursors_pass(void **state)
{
    static const char *const good[] = {
        "/v1.0/users/ann@contoso.example/mailFolders/x/messages/delta?$deltatoken=abc",
        "/v1.0/users/ann%40contoso.example/mailFolders('AAMk%3D')/messages/delta?$skiptoken=R0.d-_",
        "/v1.0/users('ann@contoso.example')/calendarView/delta?$deltatoken=a..b/../c",
        "/v1.0/users('Ann%40Contoso.example')/mailFolders/inbox/messages/delta",
        "/v1.0/Users/ANN@contoso.example/messages?$skip=10",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!cs_cursor_is_ours(good[i], ANN))
            fail_msg("refused: %s", good[i]);
}

/* contract: link.elsewhere */
static void test_foreign_cursors_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "/",
        "v1.0/users/" ANN "/x",
        /* another host, in every spelling that somebody may read as one */
        "https://evil.example/v1.0/users/" ANN "/messages",
        "http://graph.microsoft.com/v1.0/users/" ANN "/messages",
        "//evil.example/v1.0/users/" ANN "/messages",
        "/\\evil.example/v1.0/users/" ANN "/messages",
        "@evil.example/v1.0/users/" ANN "/messages",
        ":80@evil.example/v1.0/users/" ANN "/messages",
        ".evil.example/v1.0/users/" ANN "/messages",
        /* another mailbox or another place */
        "/v1.0/users/bob@contoso.example/messages",
        "/v1.0/users('bob@contoso.example')/messages",
        "/v1.0/users/" ANN ".evil.example/messages",
        "/v1.0/users/" ANN,
        "/v1.0/users/" ANN "?x=/messages",
        "/v1.0/users//messages",
        "/v1.0/users('')/messages",
        "/v1.0/users('" ANN "'/messages",
        "/v1.0/users('" ANN "')messages",
        "/v1.0/users",
        "/v1.0/me/messages",
        "/v1.0/groups/x/members",
        "/beta/users/" ANN "/messages",
        "/v1.0/usersx/" ANN "/messages",
        /* a way back up */
        "/v1.0/users/" ANN "/../bob@contoso.example/messages",
        "/v1.0/users/" ANN "/./messages",
        "/v1.0/users/" ANN "/%2e%2e/bob@contoso.example/messages",
        "/v1.0/users/" ANN "/%2E./bob@contoso.example/messages",
        "/v1.0/users/" ANN "/x%2f..%2fy",
        "/v1.0/users/" ANN "/x%5C..%5Cy",
        "/v1.0/users/" ANN "/x%252f..%252fy",
        "/v1.0/users/" ANN "\\..\\bob@contoso.example/messages",
        "/v1.0/users/" ANN "//messages",
        /* what a header, a log or a parser may break on */
        "/v1.0/users/" ANN "/messages#x",
        "/v1.0/users/" ANN "/messages?x=#y",
        "/v1.0/users/" ANN "/messages?x=a b",
        "/v1.0/users/" ANN "/messages?x=a\r\nHost: evil.example",
        "/v1.0/users/" ANN "/messages?x=\tb",
        "/v1.0/users/" ANN "/messages?x=\x7f",
        "/v1.0/users/" ANN "/messages?x=\xc3\xa9",
        "/v1.0/users/" ANN "/%00",
        "/v1.0/users/" ANN "/%0d%0a",
        "/v1.0/users/" ANN "/%",
        "/v1.0/users/" ANN "/%4",
        "/v1.0/users/" ANN "/%zz",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (cs_cursor_is_ours(bad[i], ANN))
            fail_msg("accepted: %s", bad[i]);
}

static void test_a_long_cursor_is_refused(void **state)
{
    static const char head[] = "/v1.0/users/" ANN "/messages?x=";
    char *cursor = malloc(CS_CURSOR_MAX + 2);

    (void)state;
    assert_non_null(cursor);
    memset(cursor, 'a', CS_CURSOR_MAX + 1);
    memcpy(cursor, head, sizeof(head) - 1);
    cursor[CS_CURSOR_MAX + 1] = '\0';
    assert_false(cs_cursor_is_ours(cursor, ANN));
    cursor[CS_CURSOR_MAX] = '\0';
    assert_true(cs_cursor_is_ours(cursor, ANN));
    free(cursor);
}

static int follow(const char *link, const char *base, const char *mailbox, struct cs_buf *b)
{
    cs_buf_clear(b);
    return cs_cursor_of_link(link, base, mailbox, b);
}

static void test_links_become_cursors_of_our_own_mailbox(void **state)
{
    struct cs_buf b;

    (void)state;
    cs_buf_init(&b, 0);
    assert_int_equal(
        follow(BASE "/v1.0/users('4f1c')/mailFolders('AA%3D')/messages/delta?$skiptoken=x%2Fy",
               BASE, ANN, &b),
        0);
    /* the service may name the mailbox by its object id; what is kept names it as the job does */
    assert_string_equal(
        b.data,
        "/v1.0/users/ann%40contoso.example/mailFolders('AA%3D')/messages/delta?$skiptoken=x%2Fy");
    assert_true(cs_cursor_is_ours(b.data, ANN));
    assert_int_equal(
        follow("HTTPS://Graph.Microsoft.com/v1.0/users/x/messages?$skip=1", BASE "/", ANN, &b), 0);
    assert_string_equal(b.data, "/v1.0/users/ann%40contoso.example/messages?$skip=1");
    assert_int_equal(
        follow("http://127.0.0.1:81/v1.0/users/x/messages", "http://127.0.0.1:81", ANN, &b), 0);
    cs_buf_clear(&b);
}

/* contract: link.elsewhere */
static void test_links_elsewhere_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "/v1.0/users/x/messages",
        "http://graph.microsoft.com/v1.0/users/x/messages",
        "https://graph.microsoft.com.evil.example/v1.0/users/x/messages",
        "https://graph.microsoft.com:444/v1.0/users/x/messages",
        "https://graph.microsoft.com@evil.example/v1.0/users/x/messages",
        "https://ann@graph.microsoft.com/v1.0/users/x/messages",
        "https://graph.microsoft.us/v1.0/users/x/messages",
        "https://graph.microsoft.com",
        "https://graph.microsoft.com//v1.0/users/x/messages",
        "https://graph.microsoft.com/v1.0/me/messages",
        "https://graph.microsoft.com/v1.0/users/x/../y/messages",
        "https://graph.microsoft.com/v1.0/users/x/messages#f",
    };
    struct cs_buf b;

    (void)state;
    cs_buf_init(&b, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (follow(bad[i], BASE, ANN, &b) != -EPERM)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(b.len, 0);
    }
    cs_buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_are_escaped),
        cmocka_unit_test(test_own_cursors_pass),
        cmocka_unit_test(test_foreign_cursors_are_refused),
        cmocka_unit_test(test_a_long_cursor_is_refused),
        cmocka_unit_test(test_links_become_cursors_of_our_own_mailbox),
        cmocka_unit_test(test_links_elsewhere_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
