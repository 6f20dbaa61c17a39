/*
 * show.c - a configuration as text, and what differs between two
 */
#include "config/config_int.h"

#include <stdio.h>

static const char *source_name(uint8_t mark)
{
	switch (mark & CONFIG_SOURCE_MASK) {
	case CONFIG_FILE: return "file";
	case CONFIG_ENV: return "environment";
	case CONFIG_CLI: return "command line";
	default: return "default";
	}
}

/* A rule in one line, as YAML; what came from a reference stays hidden. */
static void print_node(const struct hm_yaml *n, struct hm_buf *out)
{
	bool map = n->type == HM_YAML_MAP;

	if (n->type == HM_YAML_NULL || n->type == HM_YAML_SCALAR) {
		/* Between braces more signs mean something than where it may have stood. */
		bool plain = !n->quoted && !n->literal && !n->secret &&
			     strcspn(n->text.p, ",[]{}:#\"'\n") == n->text.len;

		if (n->type == HM_YAML_SCALAR && plain) {
			hm_buf_puts(out, n->text);
		} else if (n->type == HM_YAML_SCALAR) {
			hm_buf_lit(out, "\"");
			hm_buf_json(out, n->secret ? HM_STR("***") : n->text);
			hm_buf_lit(out, "\"");
		}
		return;
	}
	hm_buf_putc(out, map ? '{' : '[');
	for (const struct hm_yaml *c = n->first; c; c = c->next) {
		if (c != n->first)
			hm_buf_lit(out, ", ");
		if (map)
			hm_buf_printf(out, "%.*s: ", HM_STRF(c->key));
		print_node(c, out);
	}
	hm_buf_putc(out, map ? '}' : ']');
}

static void print_policy(const char *section, size_t i, struct hm_str name, const struct hm_yaml *n,
			 struct hm_buf *out)
{
	if (i == 0)
		hm_buf_printf(out, "%s:\n", section);
	hm_buf_lit(out, "  \"");
	hm_buf_json(out, name);
	hm_buf_lit(out, "\": ");
	print_node(n, out);
	hm_buf_printf(out, "  # line %d\n", n->key_line);
}

void hm_config_print(const struct hm_config *cfg, bool all, struct hm_buf *out)
{
	struct hm_settings defaults = {0};
	const char *section = "";
	struct hm_arena scratch;

	hm_arena_init(&scratch, NULL, 0);
	if (config_defaults(&scratch, &defaults) < 0) {
		out->err = HM_ENOMEM;
		hm_arena_fini(&scratch);
		return;
	}
	for (size_t i = 0; i < hm_settings_count; i++) {
		const struct hm_setting_info *row = &hm_settings_table[i];
		size_t start;

		if (!all && ((cfg->marks[i] & CONFIG_SOURCE_MASK) == CONFIG_DEFAULT ||
			     config_same_value(&cfg->settings, &defaults, row)))
			continue;
		if (strcmp(section, row->section) != 0) {
			section = row->section;
			hm_buf_printf(out, "%s:\n", section);
		}
		start = out->len;
		hm_buf_printf(out, "  %s: ", row->key);
		config_put_value(&cfg->settings, row, cfg->marks[i] & CONFIG_SECRET, out);
		for (size_t col = out->len - start; col < 44 && out->err == 0; col++)
			hm_buf_putc(out, ' ');
		hm_buf_printf(out, " # %s\n", source_name(cfg->marks[i]));
	}
	if (cfg->n_channels)
		hm_buf_lit(out, "channels:\n");
	for (size_t i = 0; i < cfg->n_channels; i++) /* their settings are credentials more often than not */
		hm_buf_printf(out, "  %s: {adapter: %s}  # line %d\n", cfg->channels[i].name.p,
			      cfg->channels[i].adapter.p, cfg->channels[i].line);
	if (cfg->n_routes)
		hm_buf_lit(out, "routes:\n");
	for (size_t i = 0; i < cfg->n_routes; i++) {
		const struct hm_route *r = &cfg->routes[i];

		if (r->node->type == HM_YAML_MAP) {
			hm_buf_printf(out, "  %s: ", r->name.p);
			print_node(r->node, out);
			hm_buf_printf(out, "  # line %d\n", r->line);
			continue;
		}
		hm_buf_printf(out, "  %s: [", r->name.p);
		for (size_t k = 0; k < r->n; k++)
			hm_buf_printf(out, "%s%s", k ? ", " : "", r->steps[k].channel.p);
		hm_buf_printf(out, "]  # line %d\n", r->line);
	}
	for (size_t i = 0; i < cfg->n_facts; i++) /* URLs and headers may carry credentials */
		hm_buf_printf(out, "%s  %s: {from: %s}  # line %d\n", i ? "" : "facts:\n",
			      cfg->facts[i].name.p, cfg->facts[i].from == HM_FACT_HTTP ? "http" : "redis",
			      cfg->facts[i].line);
	for (size_t i = 0; i < cfg->n_caps; i++)
		print_policy("caps", i, cfg->caps[i].name, cfg->caps[i].node, out);
	for (size_t i = 0; i < cfg->n_quiet; i++)
		print_policy("quiet_hours", i, cfg->quiet[i].name, cfg->quiet[i].node, out);
	for (size_t i = 0; i < cfg->n_categories; i++)
		print_policy("categories", i, cfg->categories[i].name, cfg->categories[i].node, out);
	for (size_t i = 0; i < cfg->n_tenants; i++)
		print_policy("tenants", i, cfg->tenants[i].name, cfg->tenants[i].node, out);
	hm_arena_fini(&scratch);
}

bool config_same_node(const struct hm_yaml *a, const struct hm_yaml *b)
{
	const struct hm_yaml *x = a->first, *y = b->first;

	if (a->type != b->type || a->len != b->len || a->quoted != b->quoted ||
	    !hm_str_eq(a->text, b->text) || !hm_str_eq(a->key, b->key))
		return false;
	for (; x && y; x = x->next, y = y->next)
		if (!config_same_node(x, y))
			return false;
	return x == y;
}

static bool same_route(const struct hm_route *a, const struct hm_route *b)
{
	return config_same_node(a->node, b->node);
}

struct diff {
	hm_change_fn fn;
	void *arg;
	size_t n;
};

static void changed(struct diff *d, const char *group, const char *name, bool in_effect)
{
	char what[160];

	snprintf(what, sizeof(what), "%s.%s", group, name);
	d->n++;
	if (d->fn)
		d->fn(d->arg, what, in_effect);
}

/* Rules of one section; they have few members in common, so both sides come as a function of the place. */
typedef const struct hm_yaml *(*policy_fn)(const struct hm_config *cfg, size_t i);

static const struct hm_yaml *cap_at(const struct hm_config *cfg, size_t i)
{
	return i < cfg->n_caps ? cfg->caps[i].node : NULL;
}

static const struct hm_yaml *quiet_at(const struct hm_config *cfg, size_t i)
{
	return i < cfg->n_quiet ? cfg->quiet[i].node : NULL;
}

static const struct hm_yaml *category_at(const struct hm_config *cfg, size_t i)
{
	return i < cfg->n_categories ? cfg->categories[i].node : NULL;
}

static const struct hm_yaml *tenant_at(const struct hm_config *cfg, size_t i)
{
	return i < cfg->n_tenants ? cfg->tenants[i].node : NULL;
}

static void diff_policies(struct diff *d, const struct hm_config *a, const struct hm_config *b,
			  bool gone_only, const char *section, policy_fn at)
{
	const struct hm_yaml *x, *y;

	for (size_t i = 0; (x = at(a, i)) != NULL; i++) {
		for (size_t k = 0; (y = at(b, k)) != NULL && !hm_str_eq(x->key, y->key); k++)
			;
		if (y == NULL || (!gone_only && !config_same_node(x, y)))
			changed(d, section, x->key.p, true);
	}
}

/* Channels, routes, facts and policies always take effect. Gone ones are found by looking from the other side. */
static void diff_named(struct diff *d, const struct hm_config *a, const struct hm_config *b, bool gone_only)
{
	for (size_t i = 0; i < a->n_channels; i++) {
		const struct hm_channel_conf *x = &a->channels[i], *y = hm_config_channel(b, x->name);

		if (y == NULL || (!gone_only && !config_same_node(x->node, y->node)))
			changed(d, "channels", x->name.p, true);
	}
	for (size_t i = 0; i < a->n_routes; i++) {
		const struct hm_route *x = &a->routes[i], *y = hm_config_route(b, x->name);

		if (y == NULL || (!gone_only && !same_route(x, y)))
			changed(d, "routes", x->name.p, true);
	}
	for (size_t i = 0; i < a->n_facts; i++) {
		const struct hm_fact_conf *x = &a->facts[i], *y = hm_config_fact(b, x->name);

		if (y == NULL || (!gone_only && !hm_fact_conf_same(x, y)))
			changed(d, "facts", x->name.p, true);
	}
	diff_policies(d, a, b, gone_only, "caps", cap_at);
	diff_policies(d, a, b, gone_only, "quiet_hours", quiet_at);
	diff_policies(d, a, b, gone_only, "categories", category_at);
	diff_policies(d, a, b, gone_only, "tenants", tenant_at);
}

size_t hm_config_diff(const struct hm_config *old, const struct hm_config *new_, hm_change_fn fn, void *arg)
{
	struct diff d = {.fn = fn, .arg = arg};

	for (size_t i = 0; i < hm_settings_count; i++)
		if (!config_same_value(&old->settings, &new_->settings, &hm_settings_table[i]))
			changed(&d, hm_settings_table[i].section, hm_settings_table[i].key,
				hm_settings_table[i].reloadable);
	diff_named(&d, new_, old, false);
	diff_named(&d, old, new_, true);
	return d.n;
}
