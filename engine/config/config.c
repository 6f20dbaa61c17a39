/*
 * config.c - building a configuration: defaults, file, environment, command line
 */
#include "config/config_int.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/obj.h"

void config_problem(struct config_load *l, const struct hm_err *e)
{
	l->problems++;
	if (l->report)
		l->report(l->arg, e);
}

void config_problem_at(struct config_load *l, const struct hm_yaml *n, const char *fmt, ...)
{
	char text[sizeof(((struct hm_err *)0)->text)];
	struct hm_err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_yaml_err(n, &e, HM_ECONFIG, "%s", text);
	config_problem(l, &e);
}

static size_t index_of(const struct hm_setting_info *row)
{
	return (size_t)(row - hm_settings_table);
}

/* -- the file ------------------------------------------------------------------ */

static void unknown(struct config_load *l, const struct hm_yaml *n, const char *in, const char *const *names)
{
	const char *near = hm_str_nearest(n->key, names);
	struct hm_err e;

	hm_err_at(&e, HM_ECONFIG, n->file, n->key_line, n->key_col, "unknown %s \"%.*s\"%s%s%s", in,
		  HM_STRF(n->key), near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	hm_err_field(&e, n->key.p);
	config_problem(l, &e);
}

static void unknown_key(struct config_load *l, const struct hm_yaml *n, const char *section)
{
	const char *names[128];
	char in[64];
	size_t k = 0;

	for (size_t i = 0; i < hm_settings_count && k + 1 < hm_countof(names); i++)
		if (strcmp(hm_settings_table[i].section, section) == 0)
			names[k++] = hm_settings_table[i].key;
	names[k] = NULL;
	snprintf(in, sizeof(in), "option in section %s:", section);
	unknown(l, n, in, names);
}

static void misfit(struct config_load *l, const struct hm_setting_info *row, struct hm_str found, bool hide,
		   const struct hm_yaml *n, const char *where)
{
	struct hm_buf want;
	struct hm_err e;
	char field[96];

	hm_buf_init(&want, 256);
	config_expectation(row, &want);
	if (hide || row->type == HM_SET_SECRET || row->type == HM_SET_SECRETS)
		hm_err_set(&e, HM_ECONFIG, "%s%s.%s: expected %s", where, row->section, row->key,
			   hm_buf_cstr(&want));
	else
		hm_err_set(&e, HM_ECONFIG, "%s%s.%s: expected %s, found \"%.*s\"", where, row->section,
			   row->key, hm_buf_cstr(&want), (int)hm_utf8_cut(found, 60), found.p);
	hm_buf_fini(&want);
	if (n) {
		snprintf(e.file, sizeof(e.file), "%s", n->file);
		e.line = n->line;
		e.col = n->col;
	}
	snprintf(field, sizeof(field), "%s.%s", row->section, row->key);
	hm_err_field(&e, field);
	config_problem(l, &e);
}

static int set_from_seq(struct config_load *l, const struct hm_setting_info *row, const struct hm_yaml *n)
{
	struct hm_str items[64];
	size_t k = 0;

	if (n->len > hm_countof(items))
		return HM_ECONFIG;
	for (const struct hm_yaml *c = n->first; c; c = c->next) {
		if (c->type != HM_YAML_SCALAR)
			return HM_ECONFIG;
		items[k++] = c->text;
	}
	return config_set_list(&l->cfg->arena, row, items, k, &l->cfg->settings);
}

static void set_from_node(struct config_load *l, const struct hm_setting_info *row, const struct hm_yaml *n)
{
	struct hm_config *cfg = l->cfg;
	bool textual = row->type == HM_SET_STR || row->type == HM_SET_SECRET || row->type == HM_SET_LIST ||
		       row->type == HM_SET_SECRETS;
	bool secret = n->secret;
	struct hm_str found = n->text;
	int rc = HM_ECONFIG;

	l->cfg->at[index_of(row)] = (struct hm_config_at){n->key_line, n->key_col};
	if (n->type == HM_YAML_NULL && n->secret)
		return; /* its reference failed and was reported */
	for (const struct hm_yaml *c = n->first; c; c = c->next)
		secret = secret || c->secret;
	if (n->type == HM_YAML_SEQ && (row->type == HM_SET_LIST || row->type == HM_SET_SECRETS))
		rc = set_from_seq(l, row, n);
	else if (n->type == HM_YAML_SCALAR || (n->type == HM_YAML_NULL && textual))
		rc = config_set(&cfg->arena, row, n->text, &cfg->settings);
	if (n->type == HM_YAML_SEQ || n->type == HM_YAML_MAP)
		found = hm_str_c(hm_yaml_type_name(n));
	if (rc < 0)
		misfit(l, row, found, secret, n, "");
	else
		cfg->marks[index_of(row)] = (uint8_t)(CONFIG_FILE | (secret ? CONFIG_SECRET : 0));
}

static void load_section(struct config_load *l, const char *section, const struct hm_yaml *map)
{
	struct hm_err e;

	if (map->type == HM_YAML_NULL)
		return;
	if (map->type != HM_YAML_MAP) {
		hm_yaml_err(map, &e, HM_ECONFIG, "section %s: expected a map of options, found %s", section,
			    hm_yaml_type_name(map));
		config_problem(l, &e);
		return;
	}
	for (const struct hm_yaml *n = map->first; n; n = n->next) {
		const struct hm_setting_info *row = hm_setting_find(hm_str_c(section), n->key);

		if (row)
			set_from_node(l, row, n);
		else if (strcmp(section, "facts") != 0 || !config_is_fact(n))
			unknown_key(l, n, section);
	}
	if (strcmp(section, "facts") == 0)
		config_load_facts(l, map);
}

static void load_tree(struct config_load *l, struct hm_yaml *root)
{
	/* what is no section of options; the order of `maps` */
	static const char *const others[] = {"channels",    "routes",	  "caps",
					     "quiet_hours", "categories", "tenants"};
	const struct hm_yaml *maps[hm_countof(others)] = {NULL};
	const char *names[64];
	size_t n_sections = 0;
	struct hm_err e;

	if (root->type == HM_YAML_NULL)
		return;
	if (root->type != HM_YAML_MAP) {
		hm_yaml_err(root, &e, HM_ECONFIG, "expected sections such as \"http:\", found %s",
			    hm_yaml_type_name(root));
		config_problem(l, &e);
		return;
	}
	config_resolve_tree(l, root);
	while ((names[n_sections] = config_section_name(n_sections)) != NULL)
		n_sections++;
	hm_assert(n_sections + hm_countof(others) < hm_countof(names));
	memcpy(names + n_sections, others, sizeof(others));
	names[n_sections + hm_countof(others)] = NULL;
	for (const struct hm_yaml *n = root->first; n; n = n->next) {
		size_t i = 0;

		while (names[i] && !hm_str_is(n->key, names[i]))
			i++;
		if (names[i] == NULL)
			unknown(l, n, "section", names);
		else if (i < n_sections)
			load_section(l, names[i], n);
		else
			maps[i - n_sections] = n;
	}
	if (maps[0])
		config_load_channels(l, maps[0]);
	if (maps[1]) /* after the channels they name */
		config_load_routes(l, maps[1]);
	config_load_policies(l, maps[2], maps[3], maps[4]);
	config_load_tenants(l, maps[5]);
}

/* -- environment and command line ------------------------------------------------ */

static void set_from_text(struct config_load *l, const struct hm_setting_info *row, struct hm_str text,
			  enum config_source source, const char *where)
{
	struct hm_config *cfg = l->cfg;
	struct hm_err e;
	bool secret;
	int rc = config_resolve(&cfg->arena, text, &text, &secret, &e);

	if (rc < 0) {
		hm_err_wrap(&e, "%s%s.%s", where, row->section, row->key);
		config_problem(l, &e);
		return;
	}
	if (config_set(&cfg->arena, row, text, &cfg->settings) < 0)
		misfit(l, row, text, secret, NULL, where);
	else
		cfg->marks[index_of(row)] = (uint8_t)(source | (secret ? CONFIG_SECRET : 0));
	l->cfg->at[index_of(row)].line = 0;
}

static void upper(char *s)
{
	for (; *s; s++)
		if (*s >= 'a' && *s <= 'z')
			*s = (char)(*s - 32);
}

static bool env_name(const struct hm_setting_info *row, char *out, size_t cap)
{
	int n = snprintf(out, cap, "HERMOD_%s_%s", row->section, row->key);

	upper(out);
	return n > 0 && (size_t)n < cap;
}

static void load_env(struct config_load *l)
{
	for (size_t i = 0; i < hm_settings_count; i++) {
		const struct hm_setting_info *row = &hm_settings_table[i];
		const char *value;
		char name[128], where[160];

		if (!env_name(row, name, sizeof(name)))
			continue;
		value = getenv(name);
		if (value == NULL)
			continue;
		snprintf(where, sizeof(where), "environment %s: ", name);
		set_from_text(l, row, hm_str_c(value), CONFIG_ENV, where);
	}
}

/* HERMOD_REDIS_ULR=... must not be ignored in silence. */
static void check_env_names(struct config_load *l)
{
	for (char **env = environ; *env; env++) {
		struct hm_str name = hm_str_c(*env);
		ptrdiff_t eq = hm_str_chr(name, '=');
		bool known = false, ours = false;
		char prefix[64], full[128];

		if (eq < 0 || !hm_str_starts(name, HM_STR("HERMOD_")))
			continue;
		name.len = (size_t)eq;
		for (size_t s = 0; config_section_name(s); s++) {
			if (strcmp(config_section_name(s), "test") == 0)
				continue; /* test harnesses have variables of their own */
			snprintf(prefix, sizeof(prefix), "HERMOD_%s_", config_section_name(s));
			upper(prefix);
			ours = ours || hm_str_starts(name, hm_str_c(prefix));
		}
		for (size_t i = 0; ours && !known && i < hm_settings_count; i++)
			known = env_name(&hm_settings_table[i], full, sizeof(full)) && hm_str_is(name, full);
		if (ours && !known) {
			struct hm_err e;

			hm_err_set(&e, HM_ECONFIG, "environment %.*s: there is no such option",
				   HM_STRF(name));
			config_problem(l, &e);
		}
	}
}

/* The option a wrong "section.key" was probably meant to be, or NULL; the text goes to buf. */
static const char *nearest_option(struct hm_str name, char *buf, size_t cap)
{
	const char *names[256], *near;
	struct hm_arena a;
	size_t n = 0;

	hm_arena_init(&a, NULL, 0);
	for (size_t i = 0; i < hm_settings_count && n + 1 < hm_countof(names); i++) {
		struct hm_str full = hm_arena_printf(&a, "%s.%s", hm_settings_table[i].section,
						     hm_settings_table[i].key);

		if (full.p)
			names[n++] = full.p;
	}
	names[n] = NULL;
	near = hm_str_nearest(name, names);
	if (near)
		snprintf(buf, cap, "%s", near);
	hm_arena_fini(&a);
	return near ? buf : NULL;
}

static void load_sets(struct config_load *l, const char *const *sets)
{
	for (; sets && *sets; sets++) {
		struct hm_str text = hm_str_c(*sets), name, section, key = HM_STR("");
		ptrdiff_t eq = hm_str_chr(text, '='), dot;
		const struct hm_setting_info *row = NULL;
		const char *near;
		char buf[128];
		struct hm_err e;

		name = hm_str_n(text.p, eq < 0 ? text.len : (size_t)eq);
		dot = hm_str_chr(name, '.');
		section = hm_str_n(name.p, dot < 0 ? name.len : (size_t)dot);
		if (dot >= 0)
			key = hm_str_n(name.p + dot + 1, name.len - (size_t)dot - 1);
		row = hm_setting_find(section, key);
		if (eq >= 0 && row) {
			set_from_text(l, row, hm_str_n(text.p + eq + 1, text.len - (size_t)eq - 1),
				      CONFIG_CLI, "--set ");
			continue;
		}
		near = nearest_option(name, buf, sizeof(buf));
		if (eq < 0)
			hm_err_set(&e, HM_ECONFIG, "--set %.*s: expected section.key=value", HM_STRF(name));
		else
			hm_err_set(&e, HM_ECONFIG, "--set %.*s: there is no such option%s%s%s", HM_STRF(name),
				   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
		config_problem(l, &e);
	}
}

/* -- defaults that depend on the machine ------------------------------------------- */

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Beside the program, in the tree it was built in, or where it was installed. */
static struct hm_str find_adapters(struct hm_arena *a)
{
	static const char *const places[] = {"adapters", "../adapters", "../../adapters",
					     "../share/hermod/adapters"};
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n > 0) {
		exe[n] = '\0';
		char *slash = strrchr(exe, '/');

		if (slash)
			*slash = '\0';
		for (size_t i = 0; i < hm_countof(places); i++) {
			struct hm_str path = hm_arena_printf(a, "%s/%s", exe, places[i]);
			char real[PATH_MAX];

			if (path.p && is_dir(path.p) && realpath(path.p, real))
				return hm_arena_str(a, hm_str_c(real));
		}
	}
	return HM_STR("/usr/share/hermod/adapters");
}

/* Host name and a code of the data folder: the same after a restart, different for a second
 * process on the same host. */
static struct hm_str default_name(struct hm_arena *a, struct hm_str data_dir)
{
	char host[64] = "hermod", real[PATH_MAX + 1];
	struct hm_str dir = data_dir;

	gethostname(host, sizeof(host) - 1);
	host[48] = '\0';
	if (realpath(data_dir.p, real)) {
		dir = hm_str_c(real);
	} else if (data_dir.p[0] != '/' && getcwd(real, sizeof(real))) { /* not there yet */
		dir = hm_arena_printf(a, "%s/%s", real,
				      hm_str_starts(data_dir, HM_STR("./")) ? data_dir.p + 2 : data_dir.p);
		if (dir.p == NULL)
			dir = data_dir;
	}
	return hm_arena_printf(a, "%s-%06x", host, (unsigned)(hm_hash64(dir.p, dir.len, 0) & 0xffffff));
}

static int derive(struct hm_config *cfg)
{
	struct hm_settings *s = &cfg->settings;

	if (s->node.name.len == 0)
		s->node.name = default_name(&cfg->arena, s->node.data_dir);
	if (s->ledger.dir.len == 0)
		s->ledger.dir = hm_arena_printf(&cfg->arena, "%s/ledger", s->node.data_dir.p);
	if (s->adapters.dir.len == 0)
		s->adapters.dir = find_adapters(&cfg->arena);
	return s->node.name.p && s->ledger.dir.p && s->adapters.dir.p ? 0 : HM_ENOMEM;
}

/* -- life ---------------------------------------------------------------------------- */

static struct hm_config *config_new(void)
{
	struct hm_config *cfg = calloc(1, sizeof(*cfg));

	if (cfg == NULL)
		return NULL;
	HM_MAGIC_SET(cfg, HM_CONFIG_MAGIC);
	cfg->refs = 1;
	cfg->file = "";
	hm_arena_init(&cfg->arena, NULL, 0);
	cfg->marks = hm_arena_zalloc(&cfg->arena, hm_settings_count);
	cfg->at = hm_arena_zalloc(&cfg->arena, hm_settings_count * sizeof(*cfg->at));
	if (cfg->marks == NULL || cfg->at == NULL || config_defaults(&cfg->arena, &cfg->settings) < 0) {
		hm_config_unref(cfg);
		return NULL;
	}
	return cfg;
}

static int load(const char *path, bool from_text, struct hm_str text, const char *const *sets,
		struct hm_config **cfg_r, hm_report_fn report, void *arg)
{
	struct config_load l = {.cfg = config_new(), .report = report, .arg = arg};
	struct hm_yaml *root = NULL;
	struct hm_err e;
	int rc = 0;

	if (l.cfg == NULL) {
		hm_err_set(&e, HM_ENOMEM, "out of memory while reading the configuration");
		config_problem(&l, &e);
		goto out;
	}
	if (from_text)
		rc = hm_yaml_parse(&l.cfg->arena, path, text, &root, &e);
	else if (path)
		rc = hm_yaml_read_file(&l.cfg->arena, path, &root, &e);
	if (rc < 0) {
		config_problem(&l, &e);
		goto out;
	}
	if (root) {
		l.cfg->file = root->file;
		load_tree(&l, root);
	}
	load_env(&l);
	check_env_names(&l);
	load_sets(&l, sets);
	if (derive(l.cfg) < 0) {
		hm_err_set(&e, HM_ENOMEM, "out of memory while reading the configuration");
		config_problem(&l, &e);
	}
	if (l.problems == 0) { /* else one wrong value would be reported twice */
		config_check_settings(&l);
		config_check_policies(&l);
	}
out:
	if (l.problems) {
		hm_config_unref(l.cfg);
		return HM_ECONFIG;
	}
	*cfg_r = l.cfg;
	return 0;
}

int hm_config_load(const char *path, const char *const *sets, struct hm_config **cfg_r, hm_report_fn report,
		   void *arg)
{
	return load(path, false, HM_STR_NULL, sets, cfg_r, report, arg);
}

int hm_config_load_text(const char *name, struct hm_str text, const char *const *sets,
			struct hm_config **cfg_r, hm_report_fn report, void *arg)
{
	return load(name, true, text, sets, cfg_r, report, arg);
}

struct hm_config *hm_config_ref(struct hm_config *cfg)
{
	HM_CHECK(cfg, HM_CONFIG_MAGIC);
	__atomic_add_fetch(&cfg->refs, 1, __ATOMIC_RELAXED);
	return cfg;
}

void hm_config_unref(struct hm_config *cfg)
{
	if (cfg == NULL)
		return;
	HM_CHECK(cfg, HM_CONFIG_MAGIC);
	if (__atomic_sub_fetch(&cfg->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	HM_MAGIC_CLEAR(cfg);
	config_free_conditions(cfg);
	hm_arena_fini(&cfg->arena);
	free(cfg);
}

const struct hm_channel_conf *hm_config_channel(const struct hm_config *cfg, struct hm_str name)
{
	for (size_t i = 0; i < cfg->n_channels; i++)
		if (hm_str_eq(cfg->channels[i].name, name))
			return &cfg->channels[i];
	return NULL;
}

const struct hm_route *hm_config_route(const struct hm_config *cfg, struct hm_str name)
{
	for (size_t i = 0; i < cfg->n_routes; i++)
		if (hm_str_eq(cfg->routes[i].name, name))
			return &cfg->routes[i];
	return NULL;
}

/* -- collected errors ------------------------------------------------------------------ */

void hm_err_list_add(void *list, const struct hm_err *e)
{
	struct hm_err_list *l = list;

	if (l->n < HM_ERR_LIST_MAX && l->v == NULL)
		l->v = calloc(HM_ERR_LIST_MAX, sizeof(*l->v));
	if (l->n == HM_ERR_LIST_MAX || l->v == NULL)
		l->lost++;
	else
		l->v[l->n++] = *e;
}

void hm_err_list_fini(struct hm_err_list *l)
{
	free(l->v);
	*l = (struct hm_err_list){0};
}
