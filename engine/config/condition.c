/*
 * condition.c - `if` of a route's step: data.vip || lane == "critical"
 *
 * An expression of the template language (engine/tmpl), compiled as the condition of an <#if> that prints one
 * character. Parentheses around it make `>` a comparison; so that nothing in the text can close them, brackets are
 * counted before it is compiled. What it may begin with is in hm_condition_names; dispatch/route.c gives the values.
 */
#include "config/config_int.h"

#include <stdlib.h>

#include "tmpl/tmpl.h"

#define CONDITION_MAX 4096
#define HEAD	      "<#if ("
#define TAIL	      ")>1</#if>"

const char *const hm_condition_names[] = {
	"attempts",  "campaign", "category", "data",   "lane", "last", "locale",
	"recipient", "tags",	 "template", "tenant", "tz",   "user", NULL,
};

struct config_compiled {
	struct config_compiled *next;
	struct hm_tmpl *t;
};

void config_free_conditions(struct hm_config *cfg)
{
	for (struct config_compiled *c = cfg->compiled; c; c = c->next)
		hm_tmpl_free(c->t);
	cfg->compiled = NULL;
}

/* `line` and `col` of the expression's text, from 1, to those of the file. */
static void problem_in(struct config_load *l, const struct hm_yaml *n, const char *what, int line, int col,
		       const char *text)
{
	struct hm_err e;

	if (n->literal)
		hm_err_at(&e, HM_ECONFIG, n->file, n->line + line, 1, "%s: %s", what, text);
	else if (line == 1)
		hm_err_at(&e, HM_ECONFIG, n->file, n->line, n->col + (n->quoted ? 1 : 0) + col - 1, "%s: %s",
			  what, text);
	else
		hm_err_at(&e, HM_ECONFIG, n->file, n->line, n->col, "%s: %s", what, text);
	config_problem(l, &e);
}

/* The first bracket that nothing opens or closes, or a tag; s.len when there is none. */
static size_t unbalanced(struct hm_str s)
{
	char open[64];
	size_t at[64], depth = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '"' || c == '\'') {
			bool raw = i > 0 && s.p[i - 1] == 'r';
			size_t start = i++;

			while (i < s.len && s.p[i] != c)
				i += s.p[i] == '\\' && !raw ? 2 : 1;
			if (i >= s.len)
				return start;
		} else if (c == '(' || c == '[' || c == '{') {
			if (depth == hm_countof(open))
				return i;
			at[depth] = i;
			open[depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
		} else if (c == ')' || c == ']' || c == '}') {
			if (depth == 0 || open[--depth] != c)
				return i;
		} else if (c == '<' && i + 1 < s.len &&
			   (s.p[i + 1] == '#' || s.p[i + 1] == '@' || s.p[i + 1] == '/')) {
			return i;
		}
	}
	return depth ? at[depth - 1] : s.len;
}

static bool known_names(struct config_load *l, const struct hm_yaml *n, const char *what,
			const struct hm_tmpl *t)
{
	const struct hm_tmpl_field *f;
	size_t k = hm_tmpl_fields(t, &f);
	bool ok = true;

	for (size_t i = 0; i < k; i++) {
		struct hm_str first, rest = f[i].path;
		const char *near;
		char text[256];
		size_t j = 0;

		(void)hm_str_split(&rest, '.', &first);
		while (hm_condition_names[j] && !hm_str_is(first, hm_condition_names[j]))
			j++;
		if (hm_condition_names[j])
			continue;
		near = hm_str_nearest(first, hm_condition_names);
		if (near)
			snprintf(text, sizeof(text),
				 "a condition does not know \"%.*s\"; did you mean \"%s\"?",
				 (int)hm_min(first.len, (size_t)64), first.p, near);
		else
			snprintf(text, sizeof(text),
				 "a condition does not know \"%.*s\"; the data of a message is data.NAME",
				 (int)hm_min(first.len, (size_t)64), first.p);
		problem_in(l, n, what, f[i].line, 1, text);
		ok = false;
	}
	return ok;
}

const struct hm_tmpl *config_condition(struct config_load *l, const struct hm_yaml *n, const char *what)
{
	struct hm_str s = n->type == HM_YAML_SCALAR ? hm_str_trim(n->text) : HM_STR_NULL, text;
	int indent = s.len ? (int)(s.p - n->text.p) : 0;
	struct config_compiled *keep;
	struct hm_tmpl *t;
	struct hm_err e;
	size_t bad;

	if (s.len == 0 || s.len > CONDITION_MAX) {
		config_problem_at(
			l, n, "%s: expected an expression such as: data.vip || lane == \"critical\"", what);
		return NULL;
	}
	bad = unbalanced(s);
	if (bad < s.len) {
		int line = 1, col = indent + 1;

		for (size_t i = 0; i < bad; i++, col++)
			if (s.p[i] == '\n') {
				line++;
				col = 0;
			}
		problem_in(l, n, what, line, col,
			   s.p[bad] == '<'			 ? "a condition holds no tags"
			   : s.p[bad] == '"' || s.p[bad] == '\'' ? "the text that begins here does not end"
								 : "this bracket has no counterpart");
		return NULL;
	}
	text = hm_arena_printf(&l->cfg->arena, HEAD "%.*s" TAIL, HM_STRF(s));
	keep = hm_arena_zalloc(&l->cfg->arena, sizeof(*keep));
	if (text.p == NULL || keep == NULL) {
		config_problem_at(l, n, "out of memory");
		return NULL;
	}
	if (hm_tmpl_compile(text, NULL, &t, &e) != 0) {
		int col = e.line <= 1 ? e.col - (int)strlen(HEAD) + indent : e.col;

		problem_in(l, n, what, hm_max(e.line, 1), hm_max(col, 1), e.text);
		return NULL;
	}
	keep->t = t;
	keep->next = l->cfg->compiled;
	l->cfg->compiled = keep;
	return known_names(l, n, what, t) ? t : NULL;
}
