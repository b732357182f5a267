/* conf_tenant.h - tenants out of configuration files; called by conf.c only. */
#ifndef CS_COMMON_CONF_TENANT_H
#define CS_COMMON_CONF_TENANT_H

#include "common/conf_file.h"
#include "common/tenant.h"

/**
 * @param[in]  path  of the main file: tenants.d is looked for beside it
 * @param[in]  root  its tree
 * @param[out] ret   a set with one reference, possibly empty
 * @return 0, -EINVAL, -errno of a file, -ENOMEM; err says why
 */
int cs_conf_tenants(const char *path, const struct cs_node *root, struct cs_tenant_set **ret,
                    struct cs_conf_error *err);

#endif
