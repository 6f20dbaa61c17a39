/*
 * tenants.c - the section `tenants`: what distinguishes one from another
 *
 *   tenants:
 *     acme: {weight: 3}
 *
 * The name is the label of a job: any text, at most 64 bytes. Kept sorted by name.
 */
#include "config/config_int.h"

#include <stdlib.h>

#define TENANTS_MAX 10000
#define NAME_BYTES  64
#define WEIGHT_MAX  1000

static int by_name(const void *a, const void *b)
{
	const struct hm_tenant_conf *x = a, *y = b;
	int d = memcmp(x->name.p, y->name.p, hm_min(x->name.len, y->name.len));

	return d != 0 ? d : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static void load_tenant(struct config_load *l, const struct hm_yaml *n, struct hm_tenant_conf *t)
{
	static const char *const keys[] = {"weight", NULL};
	const struct hm_yaml *w;
	int64_t weight = 1;
	struct hm_err e;

	*t = (struct hm_tenant_conf){.name = n->key, .weight = 1, .node = n};
	if (n->key.len == 0 || n->key.len > NAME_BYTES) {
		config_problem_at(l, n, "tenants: a name has 1 to %d bytes", NAME_BYTES);
		return;
	}
	if (n->type == HM_YAML_NULL)
		return;
	if (n->type != HM_YAML_MAP) {
		config_problem_at(l, n, "tenant %s: expected a map such as {weight: 3}, found %s", n->key.p,
				  hm_yaml_type_name(n));
		return;
	}
	if (hm_yaml_known(n, keys, &e) < 0) {
		config_problem(l, &e);
		return;
	}
	w = hm_yaml_get(n, "weight");
	if (w != NULL && hm_yaml_i64(w, 1, WEIGHT_MAX, &weight, &e) < 0)
		config_problem(l, &e);
	t->weight = (uint32_t)weight;
}

void config_load_tenants(struct config_load *l, const struct hm_yaml *map)
{
	struct hm_tenant_conf *v;
	size_t k = 0;

	if (map == NULL || map->type == HM_YAML_NULL || (map->type == HM_YAML_MAP && map->len == 0))
		return;
	if (map->type != HM_YAML_MAP || map->len > TENANTS_MAX) {
		config_problem_at(l, map, "tenants: expected a map from name to {weight: 3}, of at most %d",
				  TENANTS_MAX);
		return;
	}
	v = hm_arena_zalloc(&l->cfg->arena, map->len * sizeof(*v));
	if (v == NULL) {
		config_problem_at(l, map, "out of memory");
		return;
	}
	for (const struct hm_yaml *n = map->first; n; n = n->next)
		load_tenant(l, n, &v[k++]);
	qsort(v, k, sizeof(*v), by_name);
	l->cfg->tenants = v;
	l->cfg->n_tenants = k;
}

const struct hm_tenant_conf *hm_config_tenant(const struct hm_config *cfg, struct hm_str name)
{
	const struct hm_tenant_conf key = {.name = name};

	if (cfg->n_tenants == 0 || name.len == 0)
		return NULL;
	return bsearch(&key, cfg->tenants, cfg->n_tenants, sizeof(key), by_name);
}
