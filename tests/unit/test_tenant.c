#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/tenant.h"

struct settings {
    char *name;
};
static const struct cs_setting table[] = {
    {"name", CS_CONF_STR, 0, "x", 1, 10, 0, "A name.", NULL},
    {0},
};
static char dir[64];
static struct cs_conf_error err;
static struct cs_tenant_set *set;

static const char *path_of(const char *name)
{
    static char path[4][512];
    static int i;
    i = (i + 1) % 4;
    assert_true(snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name) > 0);
    return path[i];
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/crmsync-tenant-XXXXXX");
    return mkdtemp(dir) == NULL || mkdir(path_of("tenants.d"), 0700) != 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    cs_tenants_unref(set);
    set = NULL;
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static int load(const char *text)
{
    struct settings s = {0};
    put("c.cfg", text);
    cs_tenants_unref(set);
    set = NULL;
    int r = cs_conf_load(path_of("c.cfg"), table, &s, &set, &err);
    cs_conf_clear(table, &s);
    return r;
}

#define IDS  "tenant_id = \"contoso.example\"; client_id = \"22222222-2222-2222-2222-222222222222\";"
#define CRED "credentials = ( { secret_env = \"X\"; } );"
#define BOX  "mailboxes = [ \"ann@contoso.example\" ];"
#define ACME "{ name = \"acme\"; " IDS CRED BOX " }"

static void test_whole_tenant(void **state)
{
    (void)state;
    put("boxes", "# all of them\n\nBob@Contoso.example\r\n  ann@contoso.example  # twice\n"
                 "eve_x#EXT#@contoso.example\n44444444-AAAA-4444-4444-444444444444");
    int r = load(
        "tenants = ( { name = \"acme\"; tenant_id = \"11111111-1111-1111-1111-111111111111\";\n"
        "client_id = \"22222222-2222-2222-2222-222222222222\";\n"
        "credentials = ( { secret_file = \"s\"; }, { secret_env = \"ACME\"; },\n"
        "  { certificate_file = \"/c.pem\"; key_file = \"k.pem\"; } );\n"
        "mailboxes = ( \"Ann@Contoso.Example\", \"zoe@contoso.example\" ); mailboxes_file = "
        "\"boxes\";\n"
        "own_domains = [ \"Contoso.example\", \"b\xC3\xBC"
        "cher.example\" ]; backfill_days = \"all\";\n"
        "calendar_past_days = 0; calendar_future_days = 1000; private_events = \"skip\"; body = "
        "\"text\";\n"
        "exclude_folders = [ \"drafts\", \"Inbox/Private\" ]; } );");
    if (r != 0)
        fail_msg("%s", err.text);
    const struct cs_tenant *t = cs_tenants_find(set, "acme");
    assert_non_null(t);
    assert_null(cs_tenants_find(set, "acm"));
    assert_int_equal(t->n_credentials, 3);
    assert_string_equal(t->credentials[0].secret_file, path_of("s"));
    assert_string_equal(t->credentials[1].secret_env, "ACME");
    assert_string_equal(t->credentials[2].certificate_file, "/c.pem");
    assert_string_equal(t->credentials[2].key_file, path_of("k.pem"));
    static const char *const boxes[] = {"44444444-aaaa-4444-4444-444444444444",
                                        "ann@contoso.example", "bob@contoso.example",
                                        "eve_x#ext#@contoso.example", "zoe@contoso.example"};
    assert_int_equal(t->n_mailboxes, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(t->mailboxes[i], boxes[i]);
        assert_true(cs_tenant_has_mailbox(t, boxes[i]));
    }
    assert_false(cs_tenant_has_mailbox(t, "bo@contoso.example"));
    assert_false(cs_tenant_has_mailbox(t, "zz"));
    assert_int_equal(t->backfill_days, -1);
    assert_int_equal(t->calendar_past_days, 0);
    assert_int_equal(t->calendar_future_days, 1000);
    assert_int_equal(t->private_events, CS_PRIVATE_SKIP);
    assert_int_equal(t->body, CS_BODY_TEXT);
    assert_int_equal(t->n_exclude_folders, 2);
    assert_true(cs_tenant_owns_address(t, "any.one@CONTOSO.example"));
    assert_true(cs_tenant_owns_address(t, "x@xn--bcher-kva.example"));
    assert_true(cs_tenant_owns_address(t, "\"a@b\"@contoso.example"));
    assert_false(cs_tenant_owns_address(t, "x@sub.contoso.example"));
    assert_false(cs_tenant_owns_address(t, "x@contoso.example.evil"));
    assert_false(cs_tenant_owns_address(t, "contoso.example"));
    assert_false(cs_tenant_owns_address(t, ""));
}

static void test_defaults(void **state)
{
    (void)state;
    if (load("tenants = ( " ACME " );") != 0)
        fail_msg("%s", err.text);
    const struct cs_tenant *t = cs_tenants_find(set, "acme");
    assert_int_equal(t->backfill_days, 365);
    assert_int_equal(t->calendar_past_days, 90);
    assert_int_equal(t->calendar_future_days, 365);
    assert_int_equal(t->private_events, CS_PRIVATE_BUSY_ONLY);
    assert_int_equal(t->body, CS_BODY_HTML);
    assert_int_equal(t->n_exclude_folders, 9);
    assert_int_equal(load(""), 0);
    assert_int_equal(set->n, 0);
}

static void test_files_beside(void **state)
{
    (void)state;
    put("tenants.d/b.cfg", "name = \"bee\"; " IDS CRED BOX);
    put("tenants.d/a.cfg",
        "tenants = ( { name = \"zed\"; " IDS CRED "mailboxes_file = \"list\"; },\n"
        "{ name = \"aaa\"; " IDS CRED BOX " } );");
    put("tenants.d/list", "x@contoso.example\n");
    put("tenants.d/note.txt", "not read");
    put("tenants.d/.hidden.cfg", "not read");
    if (load("tenants = ( " ACME " );") != 0)
        fail_msg("%s", err.text);
    static const char *const names[] = {"aaa", "acme", "bee", "zed"};
    assert_int_equal(set->n, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(set->tenants[i]->name, names[i]);
        assert_ptr_equal(cs_tenants_find(set, names[i]), set->tenants[i]);
    }
    put("tenants.d/c.cfg", "\n\nname = \"bee\"; " IDS CRED BOX);
    assert_int_equal(load(""), -EINVAL);
    assert_non_null(strstr(err.text, "tenants.d/c.cfg: name: tenant bee comes twice"));
    put("tenants.d/c.cfg", "name = \"c\"; tenants = ( );");
    assert_int_equal(load(""), -EINVAL);
    assert_non_null(strstr(err.text, "not both"));
    put("tenants.d/c.cfg", "name = \"c\"; " IDS CRED "mailboxes = [ \"a b\" ];");
    assert_int_equal(load(""), -EINVAL);
    assert_non_null(strstr(err.text, "tenants.d/c.cfg:1: mailboxes: not a mailbox"));
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } t[] = {
        {"tenants = 5;", ":1: tenants: must be a list"},
        {"tenants = ( 5 );", "tenants: must be a list of groups"},
        {"tenants = ( { " IDS CRED BOX " } );", "name: required"},
        {"tenants = ( { name = \"Acme\"; " IDS CRED BOX " } );", ":1: name: required"},
        {"tenants = ( { name = 5; " IDS CRED BOX " } );", ":1: name: must be a text"},
        {"tenants = ( { name = \"a\"; client_id = \"22222222-2222-2222-2222-222222222222\"; " CRED
             BOX " } );",
         "tenant_id: required"},
        {"tenants = ( { name = \"a\"; tenant_id = \"common\"; client_id = "
         "\"22222222-2222-2222-2222-222222222222\"; " CRED BOX " } );",
         ":1: tenant_id: required"},
        {"tenants = ( { name = \"a\"; tenant_id = \"../x.example\"; client_id = "
         "\"22222222-2222-2222-2222-222222222222\"; " CRED BOX " } );",
         ":1: tenant_id: required"},
        {"tenants = ( { name = \"a\"; tenant_id = \"x.example\"; client_id = \"2222\"; " CRED BOX
         " } );",
         ":1: client_id: required"},
        {"tenants = ( { name = \"a\"; " IDS BOX " } );", "credentials: required"},
        {"tenants = ( { name = \"a\"; " IDS BOX "credentials = ( ); } );", "credentials: required"},
        {"tenants = ( { name = \"a\"; " IDS BOX "credentials = ( { } ); } );",
         "credentials: one of secret_file"},
        {"tenants = ( { name = \"a\"; " IDS BOX "credentials = ( { secret = \"hunter2\"; } ); } );",
         ":1: secret: secrets do not stand in the configuration"},
        {"tenants = ( { name = \"a\"; " IDS BOX "credentials = ( { secret_env = \"a b\"; } ); } );",
         "secret_env: not the name of a variable"},
        {"tenants = ( { name = \"a\"; " IDS BOX
         "credentials = ( { secret_file = \"a\"; secret_env = \"B\"; } ); } );",
         "credentials: one of secret_file"},
        {"tenants = ( { name = \"a\"; " IDS BOX "credentials = ( { key_file = \"a\"; } ); } );",
         "credentials: certificate_file and key_file"},
        {"tenants = ( { name = \"a\"; " IDS CRED " } );", "mailboxes: required"},
        {"tenants = ( { name = \"a\"; " IDS CRED "mailboxes = [ ]; } );", "mailboxes: required"},
        {"tenants = ( { name = \"a\"; " IDS CRED "mailboxes = \"x\"; } );",
         ":1: mailboxes: must be a list"},
        {"tenants = ( { name = \"a\"; " IDS CRED "mailboxes = [ 5 ]; } );",
         "mailboxes: must be a list of texts"},
        {"tenants = ( { name = \"a\"; " IDS CRED "mailboxes = [ \"a/b\" ]; } );",
         "mailboxes: not a mailbox"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "own_domains = [ \"a b\" ]; } );",
         "own_domains: not a domain"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "own_domains = [ \"com\" ]; } );",
         "own_domains: not a domain"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "backfill_days = \"some\"; } );",
         ":1: backfill_days: must be a whole number from 0 to 36500 or \"all\""},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "backfill_days = -1; } );",
         ":1: backfill_days: must be"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "calendar_past_days = 1001; } );",
         ":1: calendar_past_days: must be a whole number from 0 to 1000"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX
         "calendar_past_days = 1000; calendar_future_days = 1000; } );",
         "calendar_future_days: past and future together"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "private_events = \"no\"; } );",
         ":1: private_events: must be one of"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "body = 1; } );", ":1: body: must be one of"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "exclude_folders = [ \"/Inbox\" ]; } );",
         "exclude_folders: not a folder"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "exclude_folders = [ \"\" ]; } );",
         "exclude_folders: not a folder"},
        {"tenants = ( { name = \"a\"; " IDS CRED BOX "surprise = 1; } );",
         ":1: surprise: unknown key"},
        {"tenants = ( " ACME ", " ACME " );", "name: tenant acme comes twice"},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        if (load(t[i].text) != -EINVAL)
            fail_msg("accepted: %s", t[i].text);
        if (strstr(err.text, t[i].want) == NULL)
            fail_msg("%s\n  gave    %s\n  without %s", t[i].text, err.text, t[i].want);
        assert_null(strstr(err.text, "hunter2"));
        assert_null(set);
    }
    assert_int_equal(
        load("tenants = ( { name = \"a\"; " IDS CRED "mailboxes_file = \"none\"; } );"), -ENOENT);
    assert_non_null(strstr(err.text, "mailboxes_file: "));
    put("boxes", "ok@x.example\n\nnot ok\n");
    assert_int_equal(
        load("tenants = ( { name = \"a\"; " IDS CRED "mailboxes_file = \"boxes\"; } );"), -EINVAL);
    assert_non_null(strstr(err.text, "boxes:3: not a mailbox"));
    put("boxes", "# nobody\n");
    assert_int_equal(
        load("tenants = ( { name = \"a\"; " IDS CRED "mailboxes_file = \"boxes\"; } );"), -EINVAL);
}

static void test_sample_loads(void **state)
{
    (void)state;
    struct cs_buf sample;
    cs_buf_init(&sample, 0);
    cs_conf_sample_tenant(&sample);
    put("tenants.d/acme.cfg", sample.data);
    if (load("") != 0)
        fail_msg("%s", err.text);
    const struct cs_tenant *t = cs_tenants_find(set, "acme");
    assert_non_null(t);
    assert_int_equal(t->n_exclude_folders, 9);
    assert_int_equal(t->backfill_days, 365);
    assert_int_equal(t->calendar_past_days, 90);
    cs_buf_clear(&sample);
}

static void test_references(void **state)
{
    (void)state;
    assert_int_equal(load("tenants = ( " ACME " );"), 0);
    struct cs_tenant_set *mine = cs_tenants_ref(set);
    assert_ptr_equal(mine, set);
    cs_tenants_unref(set);
    set = NULL;
    assert_non_null(cs_tenants_find(mine, "acme")); /* a job in flight still has it */
    cs_tenants_unref(mine);
    cs_tenants_unref(NULL);
}

static void test_mail_rules(void **state)
{
    (void)state;
    put("known", "# contacts\nEve@Fabrikam.example # one\nb\xC3\xBC"
                 "cher.example\neve@fabrikam.example\n");
    if (load("tenants = ( { name = \"a\"; " IDS CRED BOX
             "internal_mail = \"skip\"; never_log = [ \"*@Court.example\", \"b\xC3\xBC"
             "cher.example\" ];\n"
             "automated_senders = [ \"alerts@*\" ]; contacts = [ \"z.example\" ]; contacts_file = "
             "\"known\";\n"
             "mailbox_rules = ( { mailbox = \"Ann@contoso.example\"; internal_mail = \"keep\";\n"
             "  unknown_mail = \"skip\"; never_log = [ \"x@y.example\" ]; } ); } );") != 0)
        fail_msg("%s", err.text);
    const struct cs_tenant *t = cs_tenants_find(set, "a");
    assert_true(t->mail.skip_internal && !t->mail.skip_unknown && !t->mail.skip_private);
    assert_int_equal(t->mail.n_never_log, 2);
    assert_string_equal(t->mail.never_log[0], "*@court.example");
    assert_string_equal(t->mail.never_log[1], "xn--bcher-kva.example");
    assert_string_equal(t->automated_senders[0], "alerts@*");
    assert_int_equal(t->n_contacts, 3);
    assert_true(cs_tenant_has_contact(t, "eve@fabrikam.example"));
    assert_true(cs_tenant_has_contact(t, "xn--bcher-kva.example"));
    assert_false(cs_tenant_has_contact(t, "fabrikam.example"));
    const struct cs_mail_rules *own = cs_tenant_mail_rules(t, "ann@contoso.example");
    assert_true(!own->skip_internal && own->skip_unknown);
    assert_int_equal(own->n_never_log, 1);
    assert_ptr_equal(cs_tenant_mail_rules(t, "bob@contoso.example"), &t->mail);

    static const struct {
        const char *text, *want;
    } bad[] = {
        {"internal_mail = true;", "internal_mail: must be one of keep, skip"},
        {"never_log = [ \"a b.example\" ];", "never_log: not an address or a domain"},
        {"never_log = [ \"*b\xC3\xBC"
         "cher.example\" ];",
         "never_log: not an address or a domain; with"},
        {"contacts = [ \"*@x.example\" ];", "contacts: not an address or a domain"},
        {"unknown_mail = \"skip\";", "unknown_mail: without contacts"},
        {"contacts_file = \"nowhere\";", "contacts_file: "},
        {"mailbox_rules = [ \"x\" ];", "mailbox_rules: must be a list of groups"},
        {"mailbox_rules = ( { mailbox = \"eve@contoso.example\"; } );", "mailbox: not one of"},
        {"mailbox_rules = ( { } );", "mailbox: required"},
        {"mailbox_rules = ( { mailbox = \"ann@contoso.example\"; }, "
         "{ mailbox = \"ann@contoso.example\"; } );",
         "mailbox: comes twice"},
        {"mailbox_rules = ( { mailbox = \"ann@contoso.example\"; body = \"none\"; } );",
         "body: unknown key"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "tenants = ( { name = \"a\"; " IDS CRED BOX "%s } );",
                 bad[i].text);
        assert_true(load(text) < 0);
        if (strstr(err.text, bad[i].want) == NULL)
            fail_msg("%s: %s", bad[i].text, err.text);
    }
}

static void test_wildcards(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool want;
    } c[] = {
        {"", "", true},
        {"*", "", true},
        {"**", "abc", true},
        {"a*c", "abbc", true},
        {"a*c", "ac", true},
        {"a*c", "acb", false},
        {"*b*", "abc", true},
        {"*ab", "aab", true},
        {"abc", "ab", false},
        {"ab", "abc", false},
        {"*a*a*a*b", "aaaaaaaaaaaaaaaa", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
        if (cs_wildcard_matches(c[i].pattern, c[i].text) != c[i].want)
            fail_msg("%s %s", c[i].pattern, c[i].text);
    char *excluded[] = {(char[]){"Inbox/*/Private"}, (char[]){"*Secret*"}};
    struct cs_tenant t = {.exclude_folders = excluded, .n_exclude_folders = 2};
    static const struct {
        const char *path;
        bool want;
    } f[] = {{"Inbox/A/Private", false},
             {"Inbox/A/B/Private", false},
             {"Inbox/Private", true},
             {"My Secrets", false},
             {"Inbox", true}};
    for (size_t i = 0; i < sizeof(f) / sizeof(f[0]); i++)
        assert_int_equal(cs_tenant_folder_in_scope(
                             &t, &(struct cs_folder_facts){"1", f[i].path, "", false, false}, true),
                         f[i].want);
}

static void test_folder_scope(void **state)
{
    (void)state;
    char *custom[] = {(char[]){"JunkEmail"}, (char[]){"Inbox/Private"}, (char[]){"drafts"},
                      (char[]){"Archive"}};
    struct cs_tenant t = {.exclude_folders = custom, .n_exclude_folders = 4};
    static const struct {
        struct cs_folder_facts f;
        bool ancestors_in, want;
    } c[] = {
        {{"1", "Inbox", "inbox", false, false}, true, true},
        {{"1", "Inbox", "inbox", false, false}, false, false},
        {{"1", "Inbox", "inbox", true, false}, true, false},
        {{"1", "Inbox", "", false, true}, true, false},
        {{"1", "Junk", "junkemail", false, false}, true, false},
        {{"1", "JunkEmail", "", false, false}, true, false}, /* as a path */
        {{"1", "junkemail", "", false, false}, true, true},
        {{"1", "Inbox/Private", "", false, false}, true, false},
        {{"1", "Inbox/Private/Deep", NULL, false, false}, true, false},
        {{"1", "Inbox/Privately", "", false, false}, true, true},
        {{"1", "inbox/private", "", false, false}, true, true},
        {{"1", "Inbox", "", false, false}, true, true},
        {{"1", "Entw\xC3\xBCrfe", "drafts", false, false}, true, false},
        {{"1", "drafts", "", false, false}, true, true}, /* a folder that is only called so */
        {{"1", "Archive", "", false, false}, true, false},
        {{"1", "Archiv", "archive", false, false}, true, false},
        {{"1", NULL, NULL, false, false}, true, true},
    };
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
        if (cs_tenant_folder_in_scope(&t, &c[i].f, c[i].ancestors_in) != c[i].want)
            fail_msg("case %zu: %s", i, c[i].f.path);
    struct cs_tenant none = {0};
    assert_true(cs_tenant_folder_in_scope(
        &none, &(struct cs_folder_facts){"1", "Drafts", "drafts", false, false}, true));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_whole_tenant), T(test_mail_rules),   T(test_wildcards),
        T(test_defaults),     T(test_files_beside), T(test_refuses),
        T(test_sample_loads), T(test_references),   cmocka_unit_test(test_folder_scope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
