/*
 * diff.c - Myers' shortest edit script, printed as hunks
 */
#include "templates/diff.h"

#include <stdlib.h>

struct lines {
	struct hm_str *v; /* with their line ends */
	size_t n;
};

static bool split(struct hm_str s, struct lines *l)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i < s.len; i++)
		n += s.p[i] == '\n' || i + 1 == s.len;
	l->n = n;
	l->v = calloc(n + 1, sizeof(*l->v));
	for (size_t i = 0; l->v && i < n; i++) {
		const char *end = memchr(s.p + at, '\n', s.len - at);
		size_t len = end ? (size_t)(end - s.p) + 1 - at : s.len - at;

		l->v[i] = hm_str_n(s.p + at, len);
		at += len;
	}
	return l->v != NULL;
}

/* marks: of a, lines that go; of b, lines that come */
struct edits {
	bool *gone, *come;
};

/* The middle of the two, after equal ends were cut off. Marks what is not common. */
static bool compare(const struct lines *a, const struct lines *b, size_t from, size_t a_end, size_t b_end,
		    struct edits *e)
{
	long n = (long)(a_end - from), m = (long)(b_end - from), most = hm_min(n + m, (long)HM_DIFF_EDITS);
	size_t width = 2 * (size_t)most + 3;
	long *v = calloc(width, sizeof(*v)), d, k, x = 0, y = 0, **trace;
	const long zero = most + 1;
	bool done = false;

	trace = calloc((size_t)most + 1, sizeof(*trace));
	if (!v || !trace) {
		free(v);
		free(trace);
		return false;
	}
	for (d = 0; d <= most && !done; d++) {
		trace[d] = malloc(width * sizeof(*v));
		if (!trace[d])
			break;
		memcpy(trace[d], v, width * sizeof(*v));
		for (k = -d; k <= d; k += 2) {
			if (k == -d || (k != d && v[zero + k - 1] < v[zero + k + 1]))
				x = v[zero + k + 1];
			else
				x = v[zero + k - 1] + 1;
			y = x - k;
			while (x < n && y < m && y >= 0 &&
			       hm_str_eq(a->v[from + (size_t)x], b->v[from + (size_t)y])) {
				x++;
				y++;
			}
			v[zero + k] = x;
			if (x >= n && y >= m) {
				done = true;
				break;
			}
		}
	}
	if (done) { /* back along the way that led here */
		x = n;
		y = m;
		for (d = d - 1; d > 0; d--) {
			const long *was = trace[d];
			long px, py;

			k = x - y;
			k = k == -d || (k != d && was[zero + k - 1] < was[zero + k + 1]) ? k + 1 : k - 1;
			px = was[zero + k];
			py = px - k;
			while (x > px && y > py && x > 0 && y > 0 &&
			       hm_str_eq(a->v[from + (size_t)x - 1], b->v[from + (size_t)y - 1]) &&
			       !(x - 1 < px || y - 1 < py)) {
				x--;
				y--;
			}
			if (x == px) {
				if (y > 0)
					e->come[from + (size_t)--y] = true;
			} else {
				e->gone[from + (size_t)--x] = true;
			}
			x = px;
			y = py;
		}
	} else {
		for (size_t i = from; i < a_end; i++)
			e->gone[i] = true;
		for (size_t i = from; i < b_end; i++)
			e->come[i] = true;
	}
	for (d = 0; d <= most; d++)
		free(trace[d]);
	free(trace);
	free(v);
	return true;
}

static void put_line(struct hm_buf *out, char sign, struct hm_str line)
{
	hm_buf_putc(out, sign);
	hm_buf_puts(out, line);
	if (line.len == 0 || line.p[line.len - 1] != '\n')
		hm_buf_lit(out, "\n\\ No newline at end of file\n");
}

static void put_range(struct hm_buf *out, char sign, size_t from, size_t n)
{
	if (n == 1)
		hm_buf_printf(out, " %c%zu", sign, from + 1);
	else
		hm_buf_printf(out, " %c%zu,%zu", sign, n ? from + 1 : from, n);
}

static void put_hunks(struct hm_buf *out, const struct lines *a, const struct lines *b, const struct edits *e)
{
	size_t i = 0, k = 0;

	while (i < a->n || k < b->n) {
		size_t i0, k0, quiet = 0, x, y;

		if (i < a->n && k < b->n && !e->gone[i] && !e->come[k]) {
			i++;
			k++;
			continue;
		}
		x = hm_min(hm_min(i, k), (size_t)HM_DIFF_CONTEXT);
		i0 = i - x;
		k0 = k - x;
		/* to the last edit that is not further than two contexts from the one before */
		while (i < a->n || k < b->n) {
			if (i < a->n && e->gone[i]) {
				i++;
				quiet = 0;
			} else if (k < b->n && e->come[k]) {
				k++;
				quiet = 0;
			} else if (i < a->n && k < b->n && quiet < 2 * HM_DIFF_CONTEXT) {
				i++;
				k++;
				quiet++;
			} else {
				break;
			}
		}
		x = quiet > HM_DIFF_CONTEXT ? quiet - HM_DIFF_CONTEXT : 0;
		i -= x;
		k -= x;
		hm_buf_lit(out, "@@");
		put_range(out, '-', i0, i - i0);
		put_range(out, '+', k0, k - k0);
		hm_buf_lit(out, " @@\n");
		for (x = i0, y = k0; x < i || y < k;) {
			if (x < i && e->gone[x])
				put_line(out, '-', a->v[x++]);
			else if (y < k && e->come[y])
				put_line(out, '+', b->v[y++]);
			else {
				put_line(out, ' ', a->v[x++]);
				y++;
			}
		}
	}
}

bool hm_diff(struct hm_buf *out, const char *a_label, struct hm_str a, const char *b_label, struct hm_str b)
{
	struct lines la = {0}, lb = {0};
	struct edits e = {0};
	size_t from = 0, a_end, b_end;

	if (hm_str_eq(a, b))
		return false;
	if (!split(a, &la) || !split(b, &lb))
		goto out;
	e.gone = calloc(la.n + 1, 1);
	e.come = calloc(lb.n + 1, 1);
	if (!e.gone || !e.come)
		goto out;
	a_end = la.n;
	b_end = lb.n;
	while (from < a_end && from < b_end && hm_str_eq(la.v[from], lb.v[from]))
		from++;
	while (a_end > from && b_end > from && hm_str_eq(la.v[a_end - 1], lb.v[b_end - 1])) {
		a_end--;
		b_end--;
	}
	if (!compare(&la, &lb, from, a_end, b_end, &e))
		goto out;
	hm_buf_printf(out, "--- %s\n+++ %s\n", a_label, b_label);
	put_hunks(out, &la, &lb, &e);
out:
	if (!out->err && (!la.v || !lb.v || !e.gone || !e.come))
		out->err = HM_ENOMEM;
	free(la.v);
	free(lb.v);
	free(e.gone);
	free(e.come);
	return true;
}
