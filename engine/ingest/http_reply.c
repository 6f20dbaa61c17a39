/*
 * http_reply.c - answers on the wire, problems as JSON (RFC 9457)
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "ingest/http_int.h"

static const struct {
	const char *slug, *title;
	int status;
} problems[] = {
#define HM_PROBLEM(name, slug, status, title) {slug, title, status},
#include "tbl/problems.h"
#undef HM_PROBLEM
};

int hm_problem_status(enum hm_problem p)
{
	return problems[p].status;
}

const char *hm_problem_title(enum hm_problem p)
{
	return problems[p].title;
}

const char *hm_problem_slug(enum hm_problem p)
{
	return problems[p].slug;
}

static struct hm_str status_line(int status)
{
	switch (status) {
#define LINE(code, text) \
	case code: return HM_STR("HTTP/1.1 " #code " " text "\r\n")
		LINE(200, "OK");
		LINE(201, "Created");
		LINE(202, "Accepted");
		LINE(204, "No Content");
		LINE(400, "Bad Request");
		LINE(401, "Unauthorized");
		LINE(403, "Forbidden");
		LINE(404, "Not Found");
		LINE(405, "Method Not Allowed");
		LINE(408, "Request Timeout");
		LINE(409, "Conflict");
		LINE(412, "Precondition Failed");
		LINE(413, "Content Too Large");
		LINE(414, "URI Too Long");
		LINE(415, "Unsupported Media Type");
		LINE(417, "Expectation Failed");
		LINE(422, "Unprocessable Content");
		LINE(428, "Precondition Required");
		LINE(429, "Too Many Requests");
		LINE(431, "Request Header Fields Too Large");
		LINE(500, "Internal Server Error");
		LINE(503, "Service Unavailable");
		LINE(505, "HTTP Version Not Supported");
#undef LINE
	default: return HM_STR_NULL;
	}
}

/* RFC 9110 section 5.6.7, once a second. */
static const char *date(struct hm_http_server *s)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	uint64_t now_s = s->tick->wall_ms / 1000;
	char iso[25];
	unsigned month;

	if (now_s == s->date_s && s->date[0])
		return s->date;
	hm_clock_rfc3339(now_s * 1000, iso);
	month = (unsigned)((iso[5] - '0') * 10 + (iso[6] - '0') - 1);
	(void)snprintf(s->date, sizeof(s->date), "%.3s, %.2s %.3s %.4s %.8s GMT",
		       days + 3 * ((now_s / 86400 + 4) % 7), iso + 8, months + (size_t)3 * (month % 12), iso,
		       iso + 11);
	s->date_s = now_s;
	return s->date;
}

void hm_http_write_answer(struct hm_http_req *r, struct hm_buf *b, const struct hm_http_answer *a, bool close)
{
	struct hm_str line = status_line(a->status);

	if (line.p)
		hm_buf_puts(b, line);
	else
		hm_buf_printf(b, "HTTP/1.1 %d Status\r\n", a->status);
	hm_buf_lit(b, "Date: ");
	hm_buf_puts(b, hm_str_c(date(r->srv)));
	if (a->type) {
		hm_buf_lit(b, "\r\nContent-Type: ");
		hm_buf_puts(b, hm_str_c(a->type));
	}
	hm_buf_lit(b, "\r\nContent-Length: ");
	hm_buf_u64(b, a->body.len);
	hm_buf_lit(b, "\r\n");
	if (close)
		hm_buf_lit(b, "Connection: close\r\n");
	else if (r->conn->parser.http_minor == 0)
		hm_buf_lit(b, "Connection: keep-alive\r\n");
	hm_buf_puts(b, a->headers);
	hm_buf_lit(b, "\r\n");
	if (r->method != HTTP_HEAD)
		hm_buf_puts(b, a->body);
}

void hm_http_json(struct hm_http_req *r, int status, struct hm_str body)
{
	hm_http_reply(r,
		      &(struct hm_http_answer){.status = status, .type = "application/json", .body = body});
}

void hm_problem_json(struct hm_buf *b, enum hm_problem p, const struct hm_problem_info *info,
		     struct hm_str detail)
{
	hm_buf_printf(b, "{\"type\":\"urn:hermod:problem:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"",
		      problems[p].slug, problems[p].title, problems[p].status);
	hm_buf_json(b, detail);
	hm_buf_putc(b, '"');
	if (info && info->field.len) {
		hm_buf_lit(b, ",\"field\":\"");
		hm_buf_json(b, info->field);
		hm_buf_putc(b, '"');
	}
	if (info && info->line > 0)
		hm_buf_printf(b, ",\"line\":%d", info->line);
	if (info && info->also)
		hm_buf_printf(b, ",%s", info->also);
	hm_buf_putc(b, '}');
}

void hm_http_problem(struct hm_http_req *r, enum hm_problem p, const struct hm_problem_info *info,
		     const char *fmt, ...)
{
	struct hm_http_answer a = {.status = problems[p].status, .type = "application/problem+json"};
	char detail[512], headers[256];
	struct hm_buf *b = &r->srv->body;
	va_list ap;
	int n, h;

	va_start(ap, fmt);
	n = vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	n = n < 0 ? 0 : (int)hm_min((size_t)n, sizeof(detail) - 1);
	hm_buf_reset(b);
	hm_problem_json(b, p, info, hm_str_n(detail, (size_t)n));
	if (info) {
		a.close = info->close;
		a.headers = info->headers;
		if (info->retry_after_s) {
			h = snprintf(headers, sizeof(headers), "Retry-After: %u\r\n%.*s", info->retry_after_s,
				     (int)hm_min(info->headers.len, (size_t)200),
				     info->headers.p ? info->headers.p : "");
			a.headers = hm_str_n(headers, (size_t)h);
		}
	}
	a.body = hm_buf_str(b);
	hm_http_reply(r, &a);
}

void hm_http_problem_err(struct hm_http_req *r, const struct hm_err *e)
{
	struct hm_problem_info info = {.field = hm_str_c(e->field), .line = e->line};

	switch (e->code) {
	case HM_EPARSE: hm_http_problem(r, HM_PROBLEM_BAD_SYNTAX, &info, "%s", e->text); break;
	case HM_ELIMIT: hm_http_problem(r, HM_PROBLEM_TOO_LARGE, &info, "%s", e->text); break;
	case HM_ENOMEM:
		info.retry_after_s = 1;
		hm_http_problem(r, HM_PROBLEM_BUSY, &info, "%s", e->text);
		break;
	default: hm_http_problem(r, HM_PROBLEM_INVALID, &info, "%s", e->text); break;
	}
}

enum hm_problem hm_http_redis_problem(const struct hm_err *e)
{
	switch (e->code) {
	case HM_EDOWN: return HM_PROBLEM_QUEUE_DOWN;
	case HM_ELOST:
	case HM_ETIMEDOUT: return HM_PROBLEM_QUEUE_UNKNOWN;
	case HM_EAGAIN:
	case HM_ENOMEM: return HM_PROBLEM_BUSY;
	default: return HM_PROBLEM_QUEUE_DOWN; /* Redis said no: out of memory, read only, loading */
	}
}

void hm_http_problem_redis(struct hm_http_req *r, const struct hm_err *e)
{
	enum hm_problem p = hm_http_redis_problem(e);
	struct hm_problem_info info = {.retry_after_s = p == HM_PROBLEM_BUSY ? 1 : 2};

	if (p == HM_PROBLEM_QUEUE_UNKNOWN)
		hm_http_problem(
			r, p, &info,
			"%s; repeat the request with the same Idempotency-Key to be sure that it counts once",
			e->text);
	else
		hm_http_problem(r, p, &info, "%s", e->text);
}

/* -- helpers ------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct hm_str hm_http_unescape(struct hm_arena *a, struct hm_str s, bool plus_is_blank)
{
	char *out = hm_arena_alloc(a, s.len + 1);
	size_t n = 0;

	if (!out)
		return HM_STR_NULL;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '+' && plus_is_blank) {
			c = ' ';
		} else if (c == '%') {
			bool there = s.len - i > 2;
			int hi = there ? hex_digit(s.p[i + 1]) : -1;
			int lo = there ? hex_digit(s.p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return HM_STR_NULL;
			c = (char)(hi << 4 | lo);
			i += 2;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return hm_str_n(out, n);
}

struct hm_str hm_http_query(struct hm_http_req *r, const char *name)
{
	struct hm_str rest = r->query, part;

	while (hm_str_split(&rest, '&', &part)) {
		ptrdiff_t eq = hm_str_chr(part, '=');
		struct hm_str key = eq >= 0 ? hm_str_n(part.p, (size_t)eq) : part;
		struct hm_str value = eq >= 0 ? hm_str_n(part.p + eq + 1, part.len - (size_t)eq - 1)
					      : HM_STR("");

		if (hm_str_is(key, name))
			return hm_http_unescape(&r->arena, value, true);
	}
	return HM_STR_NULL;
}

bool hm_http_type_is(struct hm_str content_type, const char *type)
{
	ptrdiff_t semi = hm_str_chr(content_type, ';');

	if (semi >= 0)
		content_type.len = (size_t)semi;
	return hm_str_ieq(hm_str_trim(content_type), hm_str_c(type));
}
