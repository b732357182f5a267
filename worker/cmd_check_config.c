#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>

#include "common/tenant.h"
#include "worker/commands.h"
#include "worker/settings.h"

static int help(FILE *to, int code)
{
    fputs("usage: crmsync-worker check-config [-c FILE]\n\n"
          "Reads the configuration and the tenants as `run` would, and says what is wrong with "
          "file,\n"
          "line and key (exit 78), or what there is (exit 0). Nothing is contacted.\n",
          to);
    return code;
}

int cs_cmd_check_config(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CS_DEFAULT_CONFIG;
    struct cs_tenant_set *tenants = NULL;
    struct cs_worker_conf conf;
    struct cs_conf_error err;
    size_t mailboxes = 0;
    int o;

    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (o) {
        case 'c': path = optarg; break;
        case 'h': return help(stdout, 0);
        default: return help(stderr, EX_USAGE);
        }
    if (optind < argc)
        return help(stderr, EX_USAGE);
    if (cs_worker_conf_load(path, &conf, &tenants, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return EX_CONFIG;
    }
    for (size_t i = 0; i < tenants->n; i++)
        mailboxes += tenants->tenants[i]->n_mailboxes;
    printf("%s: well: %zu tenant%s, %zu mailbox%s\n", path, tenants->n, tenants->n == 1 ? "" : "s",
           mailboxes, mailboxes == 1 ? "" : "es");
    cs_worker_conf_clear(&conf);
    cs_tenants_unref(tenants);
    return 0;
}
