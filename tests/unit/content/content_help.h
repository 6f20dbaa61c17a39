/* content_help.h - compile a document, render it, look at the mistakes: for the tests of this folder */
#ifndef CONTENT_HELP_H
#define CONTENT_HELP_H

static struct {
	struct hm_arena arena, scratch;
	msgpack_zone zone;
	struct hm_settings settings;
	struct hm_template_opts opts;
	struct hm_template_set *set; /* for rendering */
	char reports[32][600];
	size_t n;
} H;

static int help_setup(void **state)
{
	hm_arena_init(&H.arena, NULL, 0);
	hm_arena_init(&H.scratch, NULL, 0);
	assert_true(msgpack_zone_init(&H.zone, 8192));
	H.settings.templates.max_steps = 100000;
	H.settings.templates.max_depth = 30;
	H.settings.templates.max_output = 1 << 16;
	H.settings.templates.default_locale = HM_STR("");
	return 0;
}

static int help_teardown(void **state)
{
	hm_arena_fini(&H.arena);
	hm_arena_fini(&H.scratch);
	msgpack_zone_destroy(&H.zone);
	return 0;
}

static inline const struct hm_template_opts *opts(bool single_brace, const struct hm_template_set *with)
{
	H.settings.templates.single_brace = single_brace;
	H.opts = (struct hm_template_opts){.settings = &H.settings, .with = with};
	return &H.opts;
}

static inline void note(void *arg, const struct hm_err *e)
{
	assert_true(H.n < hm_countof(H.reports));
	hm_err_format(e, H.reports[H.n++], sizeof(H.reports[0]));
}

static inline struct hm_template *good_with(const char *text, bool single_brace,
					    const struct hm_template_set *with)
{
	struct hm_template *t = NULL;
	int rc;

	H.n = 0;
	rc = hm_template_compile(HM_STR("w"), 3, hm_str_c(text), "w.yaml", opts(single_brace, with), note, &H,
				 &t);
	for (size_t i = 0; i < H.n; i++)
		print_message("%s\n", H.reports[i]);
	assert_int_equal(rc, 0);
	assert_non_null(t);
	return t;
}

static inline struct hm_template *good(const char *text)
{
	return good_with(text, true, NULL);
}

/* The reports begin with, or hold, exactly these, NULL at the end. */
static inline void bad_with(const char *text, const struct hm_template_set *with, va_list ap)
{
	struct hm_template *t = NULL;
	const char *want;
	size_t n = 0;

	H.n = 0;
	assert_int_not_equal(
		hm_template_compile(HM_STR("w"), 3, hm_str_c(text), "w.yaml", opts(true, with), note, &H, &t),
		0);
	assert_null(t);
	while ((want = va_arg(ap, const char *)) != NULL) {
		bool found = false;

		for (size_t i = 0; i < H.n; i++)
			found |= strstr(H.reports[i], want) != NULL;
		if (!found) {
			for (size_t i = 0; i < H.n; i++)
				print_message("%s\n", H.reports[i]);
			fail_msg("not reported: %s", want);
		}
		n++;
	}
	if (H.n != n)
		for (size_t i = 0; i < H.n; i++)
			print_message("%s\n", H.reports[i]);
	assert_int_equal(H.n, n);
}

static inline void bad(const char *text, ...)
{
	va_list ap;

	va_start(ap, text);
	bad_with(text, NULL, ap);
	va_end(ap);
}

static inline const msgpack_object *object(const char *json)
{
	msgpack_object *o = hm_arena_alloc(&H.arena, sizeof(*o));
	struct hm_buf b;

	hm_buf_init_arena(&b, &H.arena, 1 << 20);
	assert_int_equal(hm_json_to_msgpack(hm_str_c(json), &b, NULL), 0);
	assert_int_equal(hm_msgpack_decode(&H.zone, hm_buf_str(&b), o, NULL), 0);
	return o;
}

static struct hm_err render_err;

static inline int render(const struct hm_template *t, enum hm_medium m, const char *json, const char *locale,
			 struct hm_content *out)
{
	const struct hm_render_env env = {
		.roots = {object(json)},
		.locale = hm_str_c(locale),
		.now_ms = 1700000000000u,
		.arena = &H.arena,
		.scratch = &H.scratch,
		.settings = &H.settings,
		.set = H.set,
	};
	int rc;

	hm_err_clear(&render_err);
	rc = hm_template_render(t, m, &env, out, &render_err);
	if (rc == 0)
		assert_int_equal(render_err.code, 0);
	return rc;
}

static inline void assert_error(const struct hm_template *t, const char *json, const char *text)
{
	struct hm_content c;

	assert_int_not_equal(render(t, HM_MED_PUSH, json, NULL, &c), 0);
	assert_string_equal(render_err.text, text);
}

static inline void assert_str(struct hm_str s, const char *want)
{
	if (!hm_str_is(s, want))
		print_message("got \"%.*s\"\n", HM_STRF(s));
	assert_true(hm_str_is(s, want));
}

static inline void assert_json(const msgpack_object *o, const char *want)
{
	struct hm_buf b;

	assert_non_null(o);
	hm_buf_init(&b, 1 << 20);
	hm_msgpack_to_json(o, &b);
	assert_str(hm_buf_str(&b), want);
	hm_buf_fini(&b);
}

#endif
