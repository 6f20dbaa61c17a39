/*
 * templates_store.c - `hermod templates` and Redis
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/templates_int.h"

void tcli_print_error(void *arg, const struct hm_err *e)
{
	size_t *n = arg;
	char line[1024];

	hm_err_format(e, line, sizeof(line));
	fprintf(stderr, "hermod: %s\n", line);
	if (n)
		++*n;
}

void tcli_write(struct hm_str s)
{
	if (s.len)
		fwrite(s.p, 1, s.len, stdout);
}

int tcli_failed(const struct hm_err *e)
{
	tcli_print_error(NULL, e);
	return 1;
}

static bool fact_known(void *arg, struct hm_str name)
{
	return hm_config_fact(arg, name) != NULL;
}

void tcli_opts(const struct hm_config *cfg, struct hm_template_opts *o)
{
	*o = (struct hm_template_opts){
		.settings = &cfg->settings, .fact_known = fact_known, .arg = (void *)(uintptr_t)cfg};
}

int tcli_open(struct tcli *c, const struct tcli_args *a)
{
	char who[HM_QUEUE_WHO_MAX];

	memset(c, 0, sizeof(*c));
	if (hm_queue_open(&c->q, &a->conf, a->redis))
		return 1;
	c->a = a;
	hm_arena_init(&c->arena, NULL, 0);
	c->prefix = c->q.cfg->settings.queue.prefix;
	hm_queue_who(who);
	c->by = hm_arena_str(&c->arena, hm_str_c(who));
	tcli_opts(c->q.cfg, &c->opts);
	return 0;
}

void tcli_close(struct tcli *c)
{
	if (c->sync)
		hm_templates_stop(c->sync);
	/* The configuration goes with the link; what was compiled under it does not look at it any more. */
	hm_queue_close(&c->q);
	hm_templates_free(c->sync);
	hm_template_set_unref(c->set);
	hm_book_free(c->book);
	hm_arena_fini(&c->arena);
}

static void ignore(void *arg, const struct hm_err *e)
{
}

int tcli_load(struct tcli *c)
{
	const struct hm_settings *s = &c->q.cfg->settings;
	uint64_t until = hm_clock_mono_ns() + (s->redis.command_timeout_ms + 20000) * 1000000u;
	struct hm_templates_deps d = {
		.tick = &c->q.tick, .redis = c->q.redis, .prefix = c->prefix, .opts = c->opts};

	c->book = hm_book_new();
	d.book = c->book;
	c->sync = c->book ? hm_templates_new(&d) : NULL;
	if (!c->sync) {
		fprintf(stderr, "hermod: out of memory\n");
		return 1;
	}
	/* Files are there for jobs as well. When they are wrong the engine says so; here they are just not there. */
	if (hm_book_load_files(c->book, s->templates.dir, &c->opts, ignore, NULL) != 0)
		fprintf(stderr,
			"hermod: the files in templates.dir are left out, something is wrong with them "
			"(hermod check)\n");
	while (!hm_templates_loaded(c->sync)) {
		if (hm_clock_mono_ns() > until) {
			fprintf(stderr, "hermod: the templates could not be read from Redis in time\n");
			return 1;
		}
		hm_queue_turn(&c->q);
	}
	c->set = hm_book_take(c->book);
	c->opts.with = c->set;
	return 0;
}

/* -- one question ---------------------------------------------------------------------------------- */

struct question {
	struct tcli *c;
	tcli_send_fn send;
	void *what;
};

static void send_question(struct hm_queue_link *q, void *what, hm_reply_fn fn, void *arg)
{
	const struct question *x = what;

	x->send(x->c, x->what, fn, arg);
}

int tcli_ask(struct tcli *c, tcli_send_fn send, void *what, struct hm_reply *r, struct hm_err *e)
{
	struct question x = {c, send, what};

	hm_tick_refresh(&c->q.tick); /* checking may have taken longer than a command may */
	return hm_queue_ask(&c->q, send_question, &x, &c->arena, r, e);
}

struct get {
	struct hm_str name, fields[3];
	size_t n;
};

static void send_get(struct tcli *c, void *what, hm_reply_fn fn, void *arg)
{
	const struct get *g = what;

	hm_tstore_get(c->q.redis, c->prefix, g->name, g->fields, g->n, fn, arg);
}

static struct hm_str text_at(const struct hm_reply *r, size_t i)
{
	const struct hm_reply *x = hm_reply_at(r, i);

	if (!x || x->type != HM_REPLY_STR)
		return HM_STR_NULL;
	return x->s.p ? x->s : HM_STR("");
}

int tcli_get(struct tcli *c, struct hm_str name, struct hm_str field, struct tcli_state *s, struct hm_err *e)
{
	struct get g = {
		.name = name, .fields = {HM_STR("draft"), HM_STR("current"), field}, .n = field.len ? 3 : 2};

	memset(s, 0, sizeof(*s));
	if (tcli_ask(c, send_get, &g, &s->reply, e))
		return e->code;
	if (s->reply.type != HM_REPLY_ARRAY || s->reply.n == 0)
		return 0;
	if (hm_tstore_read_info(s->reply.v[0].s, &c->arena, &s->info, e))
		return e->code;
	s->there = true;
	s->draft = text_at(&s->reply, 2 + s->info.latest);
	s->current = text_at(&s->reply, 3 + s->info.latest);
	s->field = text_at(&s->reply, 4 + s->info.latest);
	return 0;
}

/* -- changes ----------------------------------------------------------------------------------------- */

struct changing {
	struct hm_tstore_change *x;
	uint32_t version, current;
	bool done, same;
	struct hm_err *err;
};

static void on_changed(void *arg, const struct hm_tstore_answer *a, const struct hm_err *err)
{
	struct changing *w = arg;

	w->done = true;
	if (err) {
		*w->err = *err;
		if (err->code == HM_ELOST || err->code == HM_ETIMEDOUT)
			hm_err_wrap(w->err, "\"%.*s\" may have been changed or not", HM_STRF(w->x->name));
		return;
	}
	w->version = a->version;
	w->current = a->current;
	w->same = a->result == HM_TSTORE_SAME;
	if (a->result != HM_TSTORE_OK && a->result != HM_TSTORE_SAME)
		hm_tstore_explain(w->x, a, w->err);
}

int tcli_change(struct tcli *c, struct hm_tstore_change *x, uint32_t *version_r, uint32_t *current_r,
		bool *same, struct hm_err *e)
{
	struct changing w = {.x = x, .err = e};

	hm_err_clear(e);
	x->by = c->by;
	x->at_ms = hm_clock_wall_ms();
	x->max_templates = (uint32_t)c->q.cfg->settings.templates.max_templates;
	if (c->a->note)
		x->note = hm_str_c(c->a->note);
	hm_tick_refresh(&c->q.tick);
	hm_tstore_change(c->q.redis, c->prefix, x, on_changed, &w);
	while (!w.done)
		hm_queue_turn(&c->q);
	if (version_r)
		*version_r = w.version;
	if (current_r)
		*current_r = w.current;
	if (same)
		*same = w.same;
	return e->code;
}

void tcli_describe(struct hm_tstore_change *x, const struct hm_template *t, struct hm_arena *a)
{
	x->kind = hm_template_is_fragment(t) ? HM_STR("fragment") : HM_STR("message");
	x->about = hm_arena_str(a, hm_template_description(t));
}
