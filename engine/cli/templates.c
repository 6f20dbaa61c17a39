/*
 * templates.c - hermod templates: the command line, list, show, and changes of one template
 */
#include "cli/templates.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/templates_int.h"

#define PAGE 500

static const char usage[] =
	"usage: hermod templates list [PREFIX] [--json]\n"
	"       hermod templates show NAME[@VERSION | @draft] [--json]\n"
	"       hermod templates push DIR [--publish] [--dry-run] [--force] [--note TEXT]\n"
	"       hermod templates pull DIR [--force]\n"
	"       hermod templates diff DIR [--published]\n"
	"       hermod templates publish NAME [--note TEXT]\n"
	"       hermod templates archive NAME[@VERSION]\n"
	"       hermod templates restore NAME@VERSION\n"
	"       hermod templates use NAME@VERSION\n"
	"       hermod templates test DIR [--update]\n\n"
	"Managed templates: drafts and numbered versions in Redis, used by all running processes at once.\n"
	"DIR/order/shipped.yaml is the template order/shipped.\n\n"
	"  list                names, what is current, drafts\n"
	"  show                the document itself: the current version, one given, or the draft\n"
	"  push                files that differ become drafts, or with --publish new versions; all are\n"
	"                      checked before the first is stored\n"
	"  pull                what is current into files, byte for byte\n"
	"  diff                what push would change: the draft, else the current version, against the\n"
	"                      file; exit code 1 when anything differs\n"
	"  publish             the draft becomes the next version, which jobs get from now on\n"
	"  archive             a version, or all, is used by jobs that name it and no others\n"
	"  restore             a version comes back from the archive\n"
	"  use                 jobs that name no version get this one (back to an earlier one, or forth)\n"
	"  test                runs the fixtures DIR/**/*.test.yaml; needs no Redis; exit code 1 when one "
	"fails\n\n"
	"  --publish           push: publish at once\n"
	"  --published         diff: against the current version, whatever the draft says\n"
	"  --dry-run           push: check and say what would be done\n"
	"  --force             push: replace drafts of others; pull: replace files that differ\n"
	"  --note TEXT         kept in the history, at most 500 bytes\n"
	"  --update            test: write what came out into the fixtures that failed\n"
	"  --json              list, show: print JSON\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

/* -- words ------------------------------------------------------------------------------------------ */

/* NAME or NAME@VERSION; `draft` when word "draft" may stand there. */
static int parse_ref(const char *text, bool must_pin, bool may_draft, struct hm_str *name, uint32_t *version,
		     bool *draft)
{
	const char *at = strrchr(text, '@');
	struct hm_err e = {0};
	uint64_t v = 0;

	*draft = false;
	*version = 0;
	*name = at ? hm_str_n(text, (size_t)(at - text)) : hm_str_c(text);
	if (at && may_draft && strcmp(at + 1, "draft") == 0) {
		*draft = true;
	} else if (at && (!hm_str_u64(hm_str_c(at + 1), &v) || v == 0 || v > HM_TSTORE_VERSIONS)) {
		fprintf(stderr, "hermod: \"%.80s\": after @ comes the number of a version%s\n", text,
			may_draft ? ", or draft" : "");
		return 2;
	} else if (!at && must_pin) {
		fprintf(stderr, "hermod: say which version: %.80s@NUMBER\n", text);
		return 2;
	}
	*version = (uint32_t)v;
	if (hm_tstore_check_name(*name, &e)) {
		fprintf(stderr, "hermod: %s\n", e.text);
		return 2;
	}
	return 0;
}

/* -- list ------------------------------------------------------------------------------------------- */

struct page {
	struct hm_str begin, after;
};

static void send_list(struct tcli *c, void *what, hm_reply_fn fn, void *arg)
{
	const struct page *p = what;

	hm_tstore_list(c->q.redis, c->prefix, p->begin, p->after, PAGE, fn, arg);
}

static void put_json(struct hm_buf *b, const char *key, struct hm_str s)
{
	hm_buf_printf(b, "%s\"%s\":\"", b->len && b->p[b->len - 1] != '{' ? "," : "", key);
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

static void print_row(struct hm_buf *b, struct hm_str name, const struct hm_tstore_info *t, bool json,
		      bool first)
{
	const char *state = t->current ? "published" : t->latest ? "archived" : "draft";
	char at[25], versions[40];

	hm_clock_rfc3339(t->at_ms, at);
	hm_buf_reset(b);
	if (json) {
		hm_buf_puts(b, first ? HM_STR("{") : HM_STR(",\n {"));
		put_json(b, "name", name);
		put_json(b, "kind", t->kind);
		put_json(b, "description", t->about);
		put_json(b, "state", hm_str_c(state));
		hm_buf_printf(b, ",\"current\":%u,\"latest\":%u,\"draft\":%s", t->current, t->latest,
			      t->draft ? "true" : "false");
		put_json(b, "at", hm_str_c(at));
		put_json(b, "by", t->by);
		hm_buf_putc(b, '}');
	} else {
		if (t->latest == t->current)
			(void)snprintf(versions, sizeof(versions), "%s%u", t->latest ? "@" : "", t->latest);
		else if (t->current == 0)
			(void)snprintf(versions, sizeof(versions), "- of %u", t->latest);
		else
			(void)snprintf(versions, sizeof(versions), "@%u of %u", t->current, t->latest);
		hm_buf_printf(b, "%-32.*s  %-9s  %-9s  %-5s  %.19s  %.*s\n", HM_STRF(name), state,
			      t->latest ? versions : "-", t->draft ? "draft" : "-", at, HM_STRF(t->by));
	}
	tcli_write(hm_buf_str(b));
}

static int list(const struct tcli_args *a)
{
	struct page p = {.begin = hm_str_c(a->what ? a->what : ""), .after = HM_STR("")};
	struct hm_tstore_info t;
	struct hm_reply r;
	struct hm_err e = {0};
	struct hm_buf b;
	struct tcli c;
	size_t n = 0;
	int rc = 0;

	if (p.begin.len > HM_TSTORE_NAME_MAX) {
		fprintf(stderr, "hermod: names have at most %d bytes\n", HM_TSTORE_NAME_MAX);
		return 2;
	}
	if (tcli_open(&c, a))
		return 1;
	hm_buf_init(&b, 1u << 20);
	if (a->json)
		printf("[");
	else
		printf("%-32s  %-9s  %-9s  %-5s  %-19s  %s\n", "NAME", "STATE", "CURRENT", "DRAFT", "CHANGED",
		       "BY");
	do {
		hm_arena_reset(&c.arena); /* c.by is not needed here */
		p.after = n ? hm_arena_str(&c.arena, hm_buf_str(&b)) : HM_STR("");
		if (tcli_ask(&c, send_list, &p, &r, &e)) {
			rc = tcli_failed(&e);
			break;
		}
		for (size_t i = 0; i + 1 < r.n; i += 2) {
			if (hm_tstore_read_info(r.v[i + 1].s, &c.arena, &t, &e))
				rc = tcli_failed(&e);
			else
				print_row(&b, r.v[i].s, &t, a->json, n++ == 0);
		}
		hm_buf_reset(&b);
		if (r.n)
			hm_buf_puts(&b, r.v[r.n - 2].s);
	} while (r.n == 2 * (size_t)PAGE);
	if (a->json)
		printf("]\n");
	hm_buf_fini(&b);
	tcli_close(&c);
	return rc;
}

/* -- show ------------------------------------------------------------------------------------------- */

static void describe(const struct tcli_state *s, struct hm_str name, uint32_t v, bool draft,
		     struct hm_arena *a, bool json, struct hm_str source)
{
	const struct hm_reply *meta = hm_reply_at(&s->reply, draft ? 1 : 1 + v);
	struct hm_tstore_meta m = {.at_ms = 0};
	struct hm_err e = {0};
	const char *state = draft ? "draft" : hm_tstore_archived(&s->info, v) ? "archived" : "published";
	struct hm_buf b;
	char at[25];

	if (!meta || meta->type != HM_REPLY_STR || hm_tstore_read_meta(meta->s, a, &m, &e))
		memset(&m, 0, sizeof(m));
	hm_clock_rfc3339(m.at_ms, at);
	if (!json) {
		fprintf(stderr, "%.*s%s", HM_STRF(name), draft ? "" : "@");
		if (!draft)
			fprintf(stderr, "%u", v);
		fprintf(stderr, ": %s%s, %.19s by %.*s%s%.*s\n", state,
			!draft && v == s->info.current ? ", current" : "", at, HM_STRF(m.by),
			m.note.len ? ": " : "", HM_STRF(m.note));
		tcli_write(source);
		return;
	}
	hm_buf_init(&b, 8u << 20);
	hm_buf_putc(&b, '{');
	put_json(&b, "name", name);
	if (draft)
		hm_buf_lit(&b, ",\"version\":null");
	else
		hm_buf_printf(&b, ",\"version\":%u", v);
	put_json(&b, "state", hm_str_c(state));
	hm_buf_printf(&b, ",\"current\":%s", !draft && v == s->info.current ? "true" : "false");
	put_json(&b, "at", hm_str_c(at));
	put_json(&b, "by", m.by);
	put_json(&b, "note", m.note);
	put_json(&b, "source", source);
	hm_buf_lit(&b, "}\n");
	tcli_write(hm_buf_str(&b));
	hm_buf_fini(&b);
}

static int show(const struct tcli_args *a)
{
	struct hm_str name, field = HM_STR(""), source;
	struct tcli_state s;
	struct hm_err e = {0};
	struct tcli c;
	uint32_t v;
	char text[16];
	bool draft;
	int rc = parse_ref(a->what, false, true, &name, &v, &draft);

	if (rc)
		return rc;
	if (tcli_open(&c, a))
		return 1;
	if (v)
		field = hm_str_n(text, (size_t)snprintf(text, sizeof(text), "v%u", v));
	if (tcli_get(&c, name, field, &s, &e)) {
		rc = tcli_failed(&e);
		goto out;
	}
	if (!draft && v == 0 && s.there && s.info.current == 0 && s.info.latest == 0)
		draft = true; /* it has nothing else */
	source = draft ? s.draft : v ? s.field : s.current;
	if (!s.there)
		hm_err_set(&e, HM_ENOENT, "there is no template \"%.*s\"", HM_STRF(name));
	else if (!source.p && draft)
		hm_err_set(&e, HM_ENOENT, "\"%.*s\" has no draft", HM_STRF(name));
	else if (!source.p && v)
		hm_err_set(&e, HM_ENOENT, "\"%.*s\" has no version %u", HM_STRF(name), v);
	else if (!source.p)
		hm_err_set(&e, HM_ENOENT, "all versions of \"%.*s\" are archived; name one: %.*s@%u",
			   HM_STRF(name), HM_STRF(name), s.info.latest);
	if (e.code)
		rc = tcli_failed(&e);
	else
		describe(&s, name, v ? v : s.info.current, draft, &c.arena, a->json, source);
out:
	tcli_close(&c);
	return rc;
}

/* -- changes of one ------------------------------------------------------------------------------------ */

static int publish(const struct tcli_args *a)
{
	struct hm_tstore_change x = {.op = HM_TSTORE_PUBLISH};
	struct hm_template *t = NULL;
	struct tcli_state s;
	struct hm_err e = {0};
	struct tcli c;
	size_t wrong = 0;
	uint32_t version;
	bool draft;
	int rc = parse_ref(a->what, false, false, &x.name, &version, &draft);

	if (rc)
		return rc;
	if (version) {
		fprintf(stderr,
			"hermod: publish takes the draft and gives it the next number; to go back to a "
			"version: "
			"hermod templates use %s\n",
			a->what);
		return 2;
	}
	if (tcli_open(&c, a))
		return 1;
	rc = tcli_load(&c);
	if (rc == 0 && tcli_get(&c, x.name, HM_STR(""), &s, &e))
		rc = tcli_failed(&e);
	if (rc)
		goto out;
	if (!s.there || !s.draft.p) {
		hm_err_set(&e, HM_ENOENT, s.there ? "\"%.*s\" has no draft" : "there is no template \"%.*s\"",
			   HM_STRF(x.name));
		rc = tcli_failed(&e);
		goto out;
	}
	if (hm_tcheck_document(x.name, s.draft, &c.opts, tcli_print_error, &wrong, &t) == 0) {
		tcli_describe(&x, t, &c.arena);
		if (hm_template_is_fragment(t))
			(void)hm_tcheck_users(x.name, s.draft, &c.opts, tcli_print_error, &wrong);
		hm_template_unref(t);
	}
	x.match = s.info.etag; /* what was checked is what is published */
	if (wrong)
		rc = 1;
	else if (tcli_change(&c, &x, &version, NULL, NULL, &e))
		rc = tcli_failed(&e);
	else
		fprintf(stderr, "%.*s@%u is published.\n", HM_STRF(x.name), version);
out:
	tcli_close(&c);
	return rc;
}

/* What a fragment's name will stand for: others must stay right with it. false: said. */
static bool users_agree(struct tcli *c, const struct hm_tstore_change *x)
{
	const struct hm_template *now = hm_template_find(c->set, x->name, NULL), *next = NULL;
	char ref[HM_TSTORE_NAME_MAX + 16];
	uint32_t current;
	size_t wrong = 0;

	if (!now || !hm_template_is_fragment(now) || x->op == HM_TSTORE_RESTORE)
		return true;
	current = hm_template_version(now);
	if (x->op == HM_TSTORE_ARCHIVE && x->version && x->version != current)
		return true;
	for (uint32_t v = x->op == HM_TSTORE_CURRENT ? x->version
			  : x->version		     ? current - 1
						     : 0;
	     v > 0 && !next; v--) {
		(void)snprintf(ref, sizeof(ref), "%.*s@%u", HM_STRF(x->name), v);
		next = hm_template_find(c->set, hm_str_c(ref), NULL);
		if (x->op == HM_TSTORE_CURRENT)
			break;
	}
	(void)hm_tcheck_users(x->name, next ? hm_template_source(next) : HM_STR(""), &c->opts,
			      tcli_print_error, &wrong);
	return wrong == 0;
}

static int change(const struct tcli_args *a, enum hm_tstore_op op)
{
	struct hm_tstore_change x = {.op = op};
	uint32_t current = 0;
	struct hm_err e = {0};
	struct tcli c;
	bool draft, same;
	int rc = parse_ref(a->what, op != HM_TSTORE_ARCHIVE, false, &x.name, &x.version, &draft);

	if (rc)
		return rc;
	if (tcli_open(&c, a))
		return 1;
	rc = tcli_load(&c);
	if (rc == 0 && !users_agree(&c, &x))
		rc = 1;
	if (rc == 0 && tcli_change(&c, &x, NULL, &current, &same, &e))
		rc = tcli_failed(&e);
	if (rc == 0) {
		fprintf(stderr, "%s%s; ", a->what,
			op == HM_TSTORE_ARCHIVE	  ? same ? " was archived already" : " is archived"
			: op == HM_TSTORE_RESTORE ? same ? " was published already" : " is published again"
			: same			  ? " was current already"
						  : " is current");
		if (current)
			fprintf(stderr, "jobs get %.*s@%u.\n", HM_STRF(x.name), current);
		else
			fprintf(stderr, "jobs that name no version of %.*s fail.\n", HM_STRF(x.name));
	}
	tcli_close(&c);
	return rc;
}

static int archive(const struct tcli_args *a)
{
	return change(a, HM_TSTORE_ARCHIVE);
}

static int restore(const struct tcli_args *a)
{
	return change(a, HM_TSTORE_RESTORE);
}

static int use(const struct tcli_args *a)
{
	return change(a, HM_TSTORE_CURRENT);
}

/* -- the command line ----------------------------------------------------------------------------------- */

enum option {
	O_JSON = 1,
	O_PUBLISH = 2,
	O_DRY = 4,
	O_FORCE = 8,
	O_NOTE = 16,
	O_PUBLISHED = 32,
	O_UPDATE = 64
};
static const struct word {
	const char *name, *takes; /* NULL: nothing; "[PREFIX]": perhaps */
	unsigned options;
	int (*run)(const struct tcli_args *a);
} words[] = {
	{"list", "[PREFIX]", O_JSON, list},
	{"show", "NAME", O_JSON, show},
	{"push", "DIR", O_PUBLISH | O_DRY | O_FORCE | O_NOTE, tcli_push},
	{"pull", "DIR", O_FORCE, tcli_pull},
	{"diff", "DIR", O_PUBLISHED, tcli_diff},
	{"publish", "NAME", O_NOTE, publish},
	{"archive", "NAME[@VERSION]", O_NOTE, archive},
	{"restore", "NAME@VERSION", O_NOTE, restore},
	{"use", "NAME@VERSION", O_NOTE, use},
	{"test", "DIR", O_UPDATE, tcli_test},
};

static int parse(struct tcli_args *a, const struct word *w, int argc, char **argv)
{
	const struct {
		const char *name;
		unsigned bit;
		bool *to;
	} flags[] = {{"--json", O_JSON, &a->json},	 {"--publish", O_PUBLISH, &a->publish},
		     {"--dry-run", O_DRY, &a->dry_run},	 {"--force", O_FORCE, &a->force},
		     {"--update", O_UPDATE, &a->update}, {"--published", O_PUBLISHED, &a->published}};
	bool bad = false;

	hm_conf_args_init(&a->conf);
	for (int i = 2; i < argc && !bad; i++) {
		bool taken = false;

		if (hm_conf_args_take(&a->conf, argc, argv, &i, &bad) ||
		    hm_option_take("--redis", &a->redis, argc, argv, &i, &bad) ||
		    ((w->options & O_NOTE) && hm_option_take("--note", &a->note, argc, argv, &i, &bad)))
			continue;
		for (size_t k = 0; k < hm_countof(flags); k++)
			if ((w->options & flags[k].bit) && strcmp(argv[i], flags[k].name) == 0)
				taken = *flags[k].to = true;
		if (!taken && argv[i][0] != '-' && argv[i][0] != '\0' && !a->what) {
			a->what = argv[i];
		} else if (!taken) {
			fprintf(stderr,
				"hermod: templates %s does not know \"%.80s\"; hermod templates --help shows "
				"its use\n",
				w->name, argv[i]);
			bad = true;
		}
	}
	if (!bad && !a->what && w->takes[0] != '[') {
		fprintf(stderr, "hermod: templates %s needs %s\n", w->name, w->takes);
		bad = true;
	}
	if (!bad && a->note && (strlen(a->note) > HM_TSTORE_NOTE_MAX || !hm_utf8_valid(hm_str_c(a->note)))) {
		fprintf(stderr, "hermod: --note may have %d bytes of UTF-8\n", HM_TSTORE_NOTE_MAX);
		bad = true;
	}
	return bad ? 2 : 0;
}

int hm_cli_templates(int argc, char **argv)
{
	const char *names[hm_countof(words) + 1] = {NULL}, *near;
	struct tcli_args a = {.what = NULL};

	for (int i = 1; i < argc; i++)
		if (hm_wants_help(argv[i])) {
			fputs(usage, stdout);
			return 0;
		}
	if (argc < 2) {
		fputs(usage, stderr);
		return 2;
	}
	for (size_t i = 0; i < hm_countof(words); i++) {
		if (strcmp(argv[1], words[i].name) == 0)
			return parse(&a, &words[i], argc, argv) ? 2 : words[i].run(&a);
		names[i] = words[i].name;
	}
	near = hm_str_nearest(hm_str_c(argv[1]), names);
	fprintf(stderr,
		"hermod: templates does not know \"%.40s\"%s%s%s; hermod templates --help lists what it "
		"knows\n",
		argv[1], near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return 2;
}
