/* gt.c - see gt.h */
#include "tmpl/gt.h"

#include "tmpl/lex.h"

bool hm_gt_is_reserved(struct hm_str w)
{
	static const char *const words[] = {"true", "false", "gt", "gte", "lt", "lte", "as", "in", "using"};

	for (size_t i = 0; i < hm_countof(words); i++)
		if (hm_str_is(w, words[i]))
			return true;
	return false;
}

void hm_gt_note(struct hm_gt *g, uint8_t kind, bool outside)
{
	if (outside && (kind == T_AND || kind == T_OR)) {
		*g = (struct hm_gt){0};
		return;
	}
	if (g->ntok++ == 0)
		g->first = kind;
	g->last = kind;
	if (!outside)
		return;
	switch (kind) {
	case T_EQUALS:
	case T_DOUBLE_EQUALS:
	case T_NOT_EQUALS:
	case T_LT:
	case T_LTE:
	case T_GT:
	case T_GTE: g->compared = true; break;
	default: break;
	}
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t skip_name(struct hm_str t, size_t i)
{
	if (i >= t.len || !is_name_start(t.p[i]))
		return i;
	while (i < t.len && (is_name_start(t.p[i]) || is_digit(t.p[i])))
		i++;
	return i;
}

static size_t skip_digits(struct hm_str t, size_t i)
{
	while (i < t.len && is_digit(t.p[i]))
		i++;
	return i;
}

/* From an opening bracket to behind its partner, on one line; 0 when there is none. */
static size_t skip_brackets(struct hm_str t, size_t i)
{
	char stack[32];
	size_t depth = 0;

	for (; i < t.len; i++) {
		char c = t.p[i];

		if (c == '\n' || c == '\r')
			return 0;
		if (c == '"' || c == '\'') {
			bool raw = i > 0 && t.p[i - 1] == 'r' && !(i > 1 && is_name_start(t.p[i - 2]));

			for (i++; i < t.len && t.p[i] != c; i++)
				if (t.p[i] == '\\' && !raw)
					i++;
			continue;
		}
		if (t.len - i >= 4 && memcmp(t.p + i, "<#--", 4) == 0) {
			ptrdiff_t end = hm_str_find(hm_str_n(t.p + i, t.len - i), HM_STR("-->"));

			if (end < 0)
				return 0;
			i += (size_t)end + 2;
			continue;
		}
		if (c == '(' || c == '[' || c == '{') {
			if (depth == sizeof(stack))
				return 0;
			stack[depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
		} else if (c == ')' || c == ']' || c == '}') {
			if (depth == 0 || stack[depth - 1] != c)
				return 0;
			if (--depth == 0)
				return i + 1;
		}
	}
	return 0;
}

/* Behind one simple operand, or 0. */
static size_t skip_operand(struct hm_str t, size_t i)
{
	size_t start;

	if (i < t.len && (t.p[i] == '+' || t.p[i] == '-'))
		i++;
	if (i < t.len && is_digit(t.p[i])) {
		i = skip_digits(t, i);
		if (i + 1 < t.len && t.p[i] == '.' && is_digit(t.p[i + 1]))
			i = skip_digits(t, i + 1);
		return i;
	}
	if (i < t.len && t.p[i] == '(') {
		i = skip_brackets(t, i);
	} else {
		start = i;
		i = skip_name(t, i);
		if (i == start || hm_gt_is_reserved(hm_str_n(t.p + start, i - start)))
			return 0;
	}
	while (i && i < t.len) {
		if (t.p[i] == '.' || t.p[i] == '?') {
			start = i + 1;
			i = skip_name(t, start);
			if (i == start)
				return 0;
		} else if (t.p[i] == '[' || t.p[i] == '(') {
			i = skip_brackets(t, i);
		} else {
			break;
		}
	}
	return i;
}

bool hm_gt_is_operator(const struct hm_gt *g, struct hm_str text, size_t pos, size_t len)
{
	size_t i = pos + len, j;

	if (g->ntok == 0 || g->compared || g->first == T_EXCLAM || g->last == T_EXISTS)
		return false;
	if (g->ntok == 1 &&
	    (g->first == T_TRUE || g->first == T_FALSE || g->first == T_STRING || g->first == T_RAW_STRING))
		return false;
	while (i < text.len && (text.p[i] == ' ' || text.p[i] == '\t'))
		i++;
	i = skip_operand(text, i);
	if (i == 0)
		return false;
	for (j = i; j < text.len && (text.p[j] == ' ' || text.p[j] == '\t'); j++)
		;
	if (j < text.len && text.p[j] == '>')
		return !(j + 1 < text.len && text.p[j + 1] == '>');
	while (j < text.len && hm_lex_is_blank(text.p[j]))
		j++;
	text = hm_str_n(text.p + j, text.len - j);
	return hm_str_starts(text, HM_STR("&&")) || hm_str_starts(text, HM_STR("||")) ||
	       hm_str_starts(text, HM_STR("&amp;&amp;"));
}
