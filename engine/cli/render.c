/*
 * render.c - hermod render: one template with its data, or a file of cases
 *
 * Fragments of <#include> are files beside the template, with or without ".ftl"; names
 * cannot leave its folder.
 */
#include "cli/render.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/conf_args.h"
#include "tmpl/cases.h"
#include "tmpl/tmpl.h"

#define MAX_FILE (64u << 20)

struct fragment {
	struct fragment *next;
	struct hm_tmpl *tmpl;
	char name[];
};

struct render {
	const char *template_file, *data_file, *cases_file;
	const char *dir; /* of the template, with the slash; "" for here */
	size_t dir_len;
	struct hm_tmpl_opts opts;
	struct hm_tmpl_ctx ctx;
	bool fields, code;
	struct fragment *fragments;
};

static int usage(void)
{
	printf("usage: hermod render --template FILE [--data FILE] [options]\n"
	       "       hermod render --cases FILE.jsonl\n\n"
	       "Renders a template with JSON data to standard output. FILE may be -. Fragments of <#include> "
	       "are\n"
	       "looked for beside the template. With --cases, each line of the file is a case "
	       "(tests/conformance/\n"
	       "templates/README.md), and a row {id, ok, output} or {id, ok, error, message} is printed for "
	       "it.\n\n"
	       "  --template FILE     the template\n"
	       "  --data FILE         its variables, a JSON object; none when left out\n"
	       "  --format FORMAT     plain (default), html, xml, json or markdown; html, xml and markdown "
	       "escape automatically\n"
	       "  --locale LOCALE     en_US (default), zh_CN, ...\n"
	       "  --timezone ZONE     UTC (default), America/New_York, GMT+08:00, ...\n"
	       "  --single-brace      {name} is a placeholder, too\n"
	       "  --fields            print the fields the template asks for instead\n"
	       "  --code              print its compiled code instead\n"
	       "  --cases FILE        run a file of cases\n");
	return 0;
}

/* The whole file; "-" is standard input. */
static int read_file(const char *path, struct hm_buf *out, struct hm_err *e)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	size_t n;

	if (!f)
		return hm_err_set(e, errno == ENOENT ? HM_ENOENT : HM_EIO, "%s: %s", path, strerror(errno));
	while (hm_buf_reserve(out, 65536) && (n = fread(out->p + out->len, 1, 65536, f)) > 0)
		out->len += n;
	if (ferror(f))
		hm_err_set(e, HM_EIO, "%s: %s", path, strerror(errno));
	else if (out->err)
		hm_err_set(e, HM_ELIMIT, "%s: the file is larger than %u MiB", path, MAX_FILE >> 20);
	else
		e->code = 0;
	if (f != stdin)
		fclose(f);
	return e->code;
}

static void complain(const struct hm_err *e)
{
	char text[640];

	hm_err_format(e, text, sizeof(text));
	fprintf(stderr, "hermod: %s\n", text);
}

/* -- fragments ---------------------------------------------------------------------------- */

static int fragment_read(const struct render *r, struct hm_str name, struct hm_buf *text, struct hm_err *e)
{
	static const char *const endings[] = {"", ".ftl"};
	char path[4096];

	for (size_t i = 0; i < hm_countof(endings); i++) {
		int n = snprintf(path, sizeof(path), "%.*s%.*s%s", (int)r->dir_len, r->dir, HM_STRF(name),
				 endings[i]);

		if (n < 0 || (size_t)n >= sizeof(path) || memchr(name.p, 0, name.len))
			return hm_err_set(e, HM_ENOENT, "no such file");
		hm_buf_reset(text);
		if (read_file(path, text, e) != HM_ENOENT)
			return e->code;
	}
	return HM_ENOENT;
}

static int fragment_load(void *arg, struct hm_str name, const struct hm_tmpl **out, struct hm_err *e)
{
	struct render *r = arg;
	struct hm_tmpl_opts opts = r->opts;
	struct fragment *f;
	struct hm_buf text;
	int rc;

	for (f = r->fragments; f; f = f->next)
		if (hm_str_is(name, f->name)) {
			*out = f->tmpl;
			return 0;
		}
	hm_buf_init(&text, MAX_FILE);
	rc = fragment_read(r, name, &text, e);
	f = rc == 0 ? calloc(1, sizeof(*f) + name.len + 1) : NULL;
	if (rc == 0 && !f)
		rc = hm_err_set(e, HM_ENOMEM, "out of memory");
	if (rc == 0) {
		opts.name = name;
		rc = hm_tmpl_compile(hm_buf_str(&text), &opts, &f->tmpl, e);
	}
	hm_buf_fini(&text);
	if (rc) {
		free(f);
		return rc;
	}
	memcpy(f->name, name.p, name.len);
	f->next = r->fragments;
	r->fragments = f;
	*out = f->tmpl;
	return 0;
}

/* -- one template ---------------------------------------------------------------------------- */

static void print_fields(const struct hm_tmpl *t)
{
	const struct hm_tmpl_field *f;
	size_t n = hm_tmpl_fields(t, &f);

	for (size_t i = 0; i < n; i++)
		printf("%.*s%s\n", HM_STRF(f[i].path), f[i].needed ? "" : " (optional)");
}

static int render_with(struct render *r, const struct hm_tmpl *t, const msgpack_object *data,
		       struct hm_err *e)
{
	struct hm_arena arena;
	struct hm_buf out;
	int rc;

	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&out, MAX_FILE);
	r->ctx.roots = &data;
	r->ctx.nroots = 1;
	r->ctx.arena = &arena;
	r->ctx.limits.output = MAX_FILE;
	r->ctx.now_ms = (int64_t)hm_clock_wall_ms();
	r->ctx.fragment = fragment_load;
	r->ctx.fragment_arg = r;
	rc = hm_tmpl_render(t, &r->ctx, &out, e);
	if (rc == 0)
		fwrite(out.p, 1, out.len, stdout);
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return rc;
}

static int data_decode(const struct render *r, struct hm_buf *packed, msgpack_zone *zone,
		       msgpack_object *data, struct hm_err *e)
{
	struct hm_buf text;
	int rc = 0;

	hm_buf_init(&text, MAX_FILE);
	if (r->data_file)
		rc = read_file(r->data_file, &text, e);
	else
		hm_buf_lit(&text, "{}");
	if (rc == 0) {
		rc = hm_json_to_msgpack(hm_buf_str(&text), packed, e);
		if (rc == 0)
			rc = hm_msgpack_decode(zone, hm_buf_str(packed), data, e);
		if (rc == 0 && data->type != MSGPACK_OBJECT_MAP)
			rc = hm_err_set(e, HM_EINVAL, "the data is not a JSON object");
		if (rc)
			hm_err_wrap(e, "%s", r->data_file);
	}
	hm_buf_fini(&text);
	return rc;
}

static int render_one(struct render *r)
{
	struct hm_buf text, packed;
	struct hm_tmpl *t = NULL;
	msgpack_object data;
	msgpack_zone zone;
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	hm_buf_init(&text, MAX_FILE);
	hm_buf_init(&packed, MAX_FILE);
	msgpack_zone_init(&zone, 8192);
	rc = read_file(r->template_file, &text, &e);
	if (rc == 0) {
		r->opts.name = hm_str_c(r->template_file);
		rc = hm_tmpl_compile(hm_buf_str(&text), &r->opts, &t, &e);
		r->opts.name = HM_STR_NULL;
	}
	if (rc == 0 && r->fields) {
		print_fields(t);
	} else if (rc == 0 && r->code) {
		hm_buf_reset(&packed);
		hm_tmpl_dump(t, &packed);
		fwrite(packed.p, 1, packed.len, stdout);
	} else if (rc == 0) {
		rc = data_decode(r, &packed, &zone, &data, &e);
		if (rc == 0)
			rc = render_with(r, t, &data, &e);
	}
	if (rc)
		complain(&e);
	while (r->fragments) {
		struct fragment *f = r->fragments;

		r->fragments = f->next;
		hm_tmpl_free(f->tmpl);
		free(f);
	}
	hm_tmpl_free(t);
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&packed);
	hm_buf_fini(&text);
	return rc ? 1 : 0;
}

/* -- cases --------------------------------------------------------------------------------------- */

static int render_cases(const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	struct hm_arena arena;
	struct hm_buf out;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int status = 0;

	if (!f) {
		fprintf(stderr, "hermod: %s: %s\n", path, strerror(errno));
		return 1;
	}
	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&out, 4 * MAX_FILE);
	while ((n = getline(&line, &cap, f)) > 0) {
		struct hm_str row = hm_str_trim(hm_str_n(line, (size_t)n));

		if (row.len == 0)
			continue;
		hm_buf_reset(&out);
		if (!hm_tmpl_case(row, &arena, &out))
			status = 1;
		hm_buf_putc(&out, '\n');
		fwrite(out.p, 1, out.len, stdout);
		hm_arena_reset(&arena);
	}
	if (ferror(f)) {
		fprintf(stderr, "hermod: %s: %s\n", path, strerror(errno));
		status = 1;
	}
	free(line);
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	if (f != stdin)
		fclose(f);
	return status;
}

/* -- command line ------------------------------------------------------------------------------------ */

static int wrong_use(const char *what, const char *value)
{
	fprintf(stderr, "hermod: %s \"%s\"; hermod render --help tells the options\n", what, value);
	return 2;
}

/* 0: taken; 1: unknown; 2: reported */
static int take_option(struct render *r, const char *name, const char *value)
{
	static const char *const known[] = {"--template", "--data",   "--cases",
					    "--locale",	  "--format", "--timezone"};
	size_t k = 0;

	while (k < hm_countof(known) && strcmp(name, known[k]) != 0)
		k++;
	if (k < hm_countof(known) && value == NULL) {
		fprintf(stderr, "hermod: %s needs a value\n", name);
		return 2;
	}
	if (strcmp(name, "--template") == 0)
		r->template_file = value;
	else if (strcmp(name, "--data") == 0)
		r->data_file = value;
	else if (strcmp(name, "--cases") == 0)
		r->cases_file = value;
	else if (strcmp(name, "--locale") == 0)
		r->ctx.locale = hm_str_c(value);
	else if (strcmp(name, "--format") == 0) {
		if (!hm_tmpl_format_by_name(hm_str_c(value), &r->opts.format))
			return wrong_use("--format is plain, html, xml, json or markdown, not", value);
	} else if (strcmp(name, "--timezone") == 0) {
		if (!hm_tmpl_ctx_zone(&r->ctx, hm_str_c(value)))
			return wrong_use("the time zone is not known:", value);
	} else {
		return 1;
	}
	return 0;
}

int hm_cli_render(int argc, char **argv)
{
	struct render r = {0};
	const char *slash, *value;
	char name[48];

	for (int i = 1; i < argc; i++) {
		int rc;

		if (hm_wants_help(argv[i]))
			return usage();
		if (strcmp(argv[i], "--single-brace") == 0) {
			r.opts.single_brace = true;
			continue;
		}
		if (strcmp(argv[i], "--fields") == 0) {
			r.fields = true;
			continue;
		}
		if (strcmp(argv[i], "--code") == 0) {
			r.code = true;
			continue;
		}
		value = strchr(argv[i], '=');
		(void)snprintf(name, sizeof(name), "%.*s", value ? (int)(value - argv[i]) : 40, argv[i]);
		value = value ? value + 1 : i + 1 < argc ? argv[++i] : NULL;
		rc = take_option(&r, name, value);
		if (rc == 1)
			return wrong_use("render does not know", name);
		if (rc == 2)
			return 2;
	}
	if (!r.template_file == !r.cases_file) {
		fprintf(stderr, "hermod: render needs either --template FILE or --cases FILE; "
				"hermod render --help tells more\n");
		return 2;
	}
	if (r.cases_file)
		return render_cases(r.cases_file);
	slash = strrchr(r.template_file, '/');
	r.dir = r.template_file;
	r.dir_len = slash ? (size_t)(slash - r.template_file) + 1 : 0;
	return render_one(&r);
}
