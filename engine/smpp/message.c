/*
 * message.c - a call as PDUs: its fields, its parts, its answer
 */
#include <stddef.h>
#include <stdio.h>

#include "smpp/smpp_int.h"

#define SHORT_CODE 6 /* digits; longer ones are numbers */

/* -- fields --------------------------------------------------------------------------------- */

struct fields {
	struct hm_str source, dest, validity, schedule, service_type;
	int source_ton, source_npi, dest_ton, dest_npi;
	int gsm_coding, latin1_coding, ucs2_coding;
	int registered, protocol_id, priority, esm_mode, replace;
	unsigned alphabet, how, all_receipts;
};

static const char *const alphabets[] = {"gsm", "gsm-packed", "latin1", "ucs2", NULL}; /* enum smpp_alphabet */
static const char *const longs[] = {"udh8", "udh16", "sar", "payload", NULL};	      /* enum smpp_long */
static const char *const receipts[] = {"last", "all", NULL};

#define AT(field) offsetof(struct fields, field)
static const struct row {
	const char *name;
	enum { TEXT, OCTET, WORD } kind;
	size_t at;
	unsigned max; /* of a text: characters */
	const char *const *words;
} rows[] = {
	{"source_addr", TEXT, AT(source), 21, NULL},
	{"destination_addr", TEXT, AT(dest), 21, NULL},
	{"validity", TEXT, AT(validity), 16, NULL},
	{"schedule", TEXT, AT(schedule), 16, NULL},
	{"service_type", TEXT, AT(service_type), 5, NULL},
	{"source_addr_ton", OCTET, AT(source_ton), 255, NULL},
	{"source_addr_npi", OCTET, AT(source_npi), 255, NULL},
	{"dest_addr_ton", OCTET, AT(dest_ton), 255, NULL},
	{"dest_addr_npi", OCTET, AT(dest_npi), 255, NULL},
	{"gsm_coding", OCTET, AT(gsm_coding), 255, NULL},
	{"latin1_coding", OCTET, AT(latin1_coding), 255, NULL},
	{"ucs2_coding", OCTET, AT(ucs2_coding), 255, NULL},
	{"registered_delivery", OCTET, AT(registered), 31, NULL},
	{"protocol_id", OCTET, AT(protocol_id), 255, NULL},
	{"priority_flag", OCTET, AT(priority), 3, NULL},
	{"esm_mode", OCTET, AT(esm_mode), 3, NULL},
	{"replace_if_present", OCTET, AT(replace), 1, NULL},
	{"alphabet", WORD, AT(alphabet), 0, alphabets},
	{"long", WORD, AT(how), 0, longs},
	{"part_receipts", WORD, AT(all_receipts), 0, receipts},
};

static int read_field(const struct row *r, struct hm_str v, struct fields *f, struct hm_err *e)
{
	char *at = (char *)f + r->at;
	uint64_t n;

	switch (r->kind) {
	case TEXT:
		if (v.len > r->max)
			return hm_err_set(e, HM_EINVAL, "%s is longer than %u characters", r->name, r->max);
		*(struct hm_str *)(void *)at = v;
		return 0;
	case OCTET:
		if (!hm_str_u64(v, &n) || n > r->max)
			return hm_err_set(e, HM_EINVAL, "%s is '%.*s', expected 0 to %u", r->name, HM_STRF(v),
					  r->max);
		*(int *)(void *)at = (int)n;
		return 0;
	case WORD: break;
	}
	for (unsigned i = 0; r->words[i]; i++) {
		if (hm_str_is(v, r->words[i])) {
			*(unsigned *)(void *)at = i;
			return 0;
		}
	}
	return hm_err_set(e, HM_EINVAL, "%s is '%.*s', which it cannot be", r->name, HM_STRF(v));
}

static int read_fields(const struct hm_call *c, struct fields *f, struct hm_err *e)
{
	*f = (struct fields){
		.source_ton = -1,
		.source_npi = -1,
		.dest_ton = -1,
		.dest_npi = -1,
		.latin1_coding = 3,
		.ucs2_coding = 8,
	};
	f->source = f->dest = f->validity = f->schedule = f->service_type = HM_STR("");
	for (size_t i = 0; i < c->n_headers; i++) {
		const struct hm_header *h = &c->headers[i];
		size_t r = 0;
		int rc;

		while (r < hm_countof(rows) && !hm_str_is(h->name, rows[r].name))
			r++;
		if (hm_str_is(h->name, "content-type")) /* of the body: text, always */
			continue;
		if (r == hm_countof(rows))
			return hm_err_set(e, HM_EINVAL, "SMPP knows no field %.*s", HM_STRF(h->name));
		if (h->value.len && (rc = read_field(&rows[r], h->value, f, e)) < 0)
			return rc;
	}
	return 0;
}

/* -- addresses and times ------------------------------------------------------------------------ */

static bool printable(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.p[i] < 0x20 || (uint8_t)s.p[i] > 0x7e)
			return false;
	return true;
}

static bool digits(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.len > 0;
}

/* A number goes without its plus; what it is follows from how it looks. */
static void look_at(struct hm_str *s, uint8_t *ton_r, uint8_t *npi_r)
{
	bool plus = s->len > 1 && s->p[0] == '+' && digits(hm_str_n(s->p + 1, s->len - 1));

	if (plus)
		*s = hm_str_n(s->p + 1, s->len - 1);
	*ton_r = *npi_r = 0;
	if (s->len == 0)
		return;
	if (!digits(*s)) {
		*ton_r = 5; /* alphanumeric */
	} else if (!plus && s->len <= SHORT_CODE) {
		*ton_r = 3; /* network specific */
	} else {
		*ton_r = 1; /* international, */
		*npi_r = 1; /* E.164 */
	}
}

static int addresses(const struct fields *f, struct smpp_sm *m, struct hm_err *e)
{
	m->source = f->source;
	m->dest = f->dest;
	if (!printable(f->source) || !printable(f->dest))
		return hm_err_set(e, HM_EINVAL, "an address of a text message holds printable ASCII only");
	look_at(&m->source, &m->source_ton, &m->source_npi);
	if (m->source_ton == 5 && m->source.len > 11)
		return hm_err_set(e, HM_EINVAL, "the sender '%.*s' is longer than 11 characters",
				  HM_STRF(m->source));
	look_at(&m->dest, &m->dest_ton, &m->dest_npi);
	if (!digits(m->dest) || m->dest.len > 20)
		return hm_err_set(e, HM_EINVAL, "'%.*s' is no phone number", HM_STRF(f->dest));
	m->dest_ton = m->dest_npi = 1;
	if (m->source.len > 20)
		return hm_err_set(e, HM_EINVAL, "source_addr is longer than 20 characters");
	if (f->source_ton >= 0)
		m->source_ton = (uint8_t)f->source_ton;
	if (f->source_npi >= 0)
		m->source_npi = (uint8_t)f->source_npi;
	if (f->dest_ton >= 0)
		m->dest_ton = (uint8_t)f->dest_ton;
	if (f->dest_npi >= 0)
		m->dest_npi = (uint8_t)f->dest_npi;
	return 0;
}

/* Seconds as a relative time YYMMDDhhmmss000R; months have 30 days there, years 360. */
static int time_of(struct hm_str v, const char *what, struct hm_arena *a, struct hm_str *r, struct hm_err *e)
{
	uint64_t s, d;

	*r = HM_STR("");
	if (v.len == 0)
		return 0;
	if (v.len == 16) {
		if (!printable(v))
			return hm_err_set(e, HM_EINVAL, "%s is no time", what);
		*r = v;
		return 0;
	}
	if (!hm_str_u64(v, &s) || s > UINT64_C(86400) * 360 * 60)
		return hm_err_set(e, HM_EINVAL, "%s is '%.*s', expected seconds or a time of 16 characters",
				  what, HM_STRF(v));
	d = s / 86400;
	s %= 86400;
	*r = hm_arena_printf(a, "%02u%02u%02u%02u%02u%02u000R", (unsigned)(d / 360), (unsigned)(d % 360 / 30),
			     (unsigned)(d % 30), (unsigned)(s / 3600), (unsigned)(s % 3600 / 60),
			     (unsigned)(s % 60));
	return r->p ? 0 : hm_err_set(e, HM_ENOMEM, "out of memory");
}

/* -- parts -------------------------------------------------------------------------------------- */

static void set_codings(const struct fields *f, struct smpp_message *m)
{
	switch (m->text.alphabet) {
	case SMPP_GSM:
	case SMPP_GSM_PACKED: m->sm.data_coding = (uint8_t)f->gsm_coding; break;
	case SMPP_LATIN1: m->sm.data_coding = (uint8_t)f->latin1_coding; break;
	case SMPP_UCS2: m->sm.data_coding = (uint8_t)f->ucs2_coding; break;
	}
	m->sm.service_type = f->service_type;
	m->sm.protocol_id = (uint8_t)f->protocol_id;
	m->sm.priority = (uint8_t)f->priority;
	m->sm.replace = (uint8_t)f->replace;
	m->sm.esm_class = (uint8_t)f->esm_mode;
	m->sm.registered = (uint8_t)f->registered;
	/* Who asks about success asks once, behind the last part; of the others only failure is of interest. */
	m->registered_but_last = f->all_receipts || (f->registered & 3) != 1
					 ? m->sm.registered
					 : (uint8_t)((f->registered & ~3) | 2);
	if (!f->all_receipts)
		m->registered_but_last &= 0x0f; /* and no intermediate notifications */
}

int smpp_message_new(struct hm_call *c, struct smpp_message **m_r, struct hm_err *e)
{
	struct smpp_message *m = hm_arena_zalloc(c->arena, sizeof(*m));
	struct fields f;
	int rc;

	if (m == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(m, SMPP_MESSAGE_MAGIC);
	m->call = c;
	m->words = HM_STR("");
	if ((rc = read_fields(c, &f, e)) < 0 || (rc = addresses(&f, &m->sm, e)) < 0 ||
	    (rc = time_of(f.validity, "validity", c->arena, &m->sm.validity, e)) < 0 ||
	    (rc = time_of(f.schedule, "schedule", c->arena, &m->sm.schedule, e)) < 0)
		return rc;
	m->how = (enum smpp_long)f.how;
	rc = smpp_text_encode(c->body, (enum smpp_alphabet)f.alphabet, m->how, c->arena, &m->text, e);
	if (rc < 0)
		return rc == HM_ELIMIT ? hm_err_set(e, HM_EINVAL, "%s", e->text) : rc;
	set_codings(&f, m);
	m->todo = m->text.n_parts;
	m->parts = hm_arena_zalloc(c->arena, m->todo * sizeof(*m->parts));
	if (m->parts == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	*m_r = m;
	return 0;
}

void smpp_message_put(const struct smpp_message *m, uint32_t part, uint32_t sequence, struct hm_buf *out)
{
	uint32_t n = m->text.n_parts;
	struct smpp_sm sm = m->sm;
	struct hm_str udh = HM_STR("");
	char head[7];

	sm.message = m->text.parts[part];
	sm.sar_ref = sm.sar_total = sm.sar_seqnum = -1;
	if (n > 1) {
		if (part + 1 < n)
			sm.registered = m->registered_but_last;
		switch (m->how) {
		case SMPP_LONG_UDH8:
			memcpy(head, "\x05\x00\x03", 3);
			head[3] = (char)(m->ref & 0xff);
			head[4] = (char)n;
			head[5] = (char)(part + 1);
			udh = hm_str_n(head, 6);
			break;
		case SMPP_LONG_UDH16:
			memcpy(head, "\x06\x08\x04", 3);
			head[3] = (char)(m->ref >> 8);
			head[4] = (char)(m->ref & 0xff);
			head[5] = (char)n;
			head[6] = (char)(part + 1);
			udh = hm_str_n(head, 7);
			break;
		case SMPP_LONG_SAR:
			sm.sar_ref = m->ref;
			sm.sar_total = (int)n;
			sm.sar_seqnum = (int)part + 1;
			break;
		case SMPP_LONG_PAYLOAD: hm_unreachable();
		}
	}
	/* A text that fits goes as short_message, whatever longer ones do. */
	smpp_put_submit(out, sequence, &sm, udh,
			m->how == SMPP_LONG_PAYLOAD &&
				sm.message.len > (m->text.alphabet == SMPP_GSM ? 160u : 140u));
}

/* -- answers ---------------------------------------------------------------------------------------- */

struct answer {
	struct hm_call *call;
	struct hm_header list[8];
	size_t n;
};

static void add(struct answer *a, struct hm_str name, struct hm_str value)
{
	hm_assert(a->n < hm_countof(a->list));
	a->list[a->n++] = (struct hm_header){.name = name, .value = value};
}

/* Headers into the call's arena; without memory for them the call cannot be told apart from one half known. */
static bool give(struct answer *a, uint32_t status)
{
	struct hm_call *c = a->call;

	for (size_t i = 0; i < a->n; i++)
		if (a->list[i].value.p == NULL)
			return false;
	c->answer_headers = hm_arena_alloc(c->arena, a->n * sizeof(a->list[0]));
	if (c->answer_headers == NULL)
		return false;
	memcpy(c->answer_headers, a->list, a->n * sizeof(a->list[0]));
	c->n_answer_headers = a->n;
	c->status = status > INT32_MAX ? INT32_MAX : (int)status;
	return true;
}

static struct hm_str name_of(uint32_t status, struct hm_arena *a)
{
	char hex[11];
	const char *name = smpp_status_name(status, hex);

	return name == hex ? hm_arena_str(a, hm_str_c(hex)) : hm_str_c(name);
}

/* The last part's first: it is the one whose receipt says that the message has arrived, whatever a short place cuts off. */
static struct hm_str joined_ids(const struct smpp_message *m)
{
	uint32_t n = m->text.n_parts;
	struct hm_buf b;

	hm_buf_init_arena(&b, m->call->arena, SMPP_MAX_PARTS * SMPP_ID_CAP);
	for (uint32_t i = 0; i < n; i++) {
		struct hm_str id = m->parts[i == 0 ? n - 1 : i - 1].id;

		if (id.len == 0)
			continue;
		if (b.len)
			hm_buf_putc(&b, ',');
		hm_buf_puts(&b, id);
	}
	return b.err ? HM_STR_NULL : b.len ? hm_buf_str(&b) : HM_STR("");
}

void smpp_message_answer(struct smpp_message *m)
{
	struct hm_call *c = m->call;
	struct answer a = {.call = c};
	struct hm_str ids = joined_ids(m);
	uint32_t status = m->taken == m->text.n_parts ? SMPP_ROK : m->status;

	hm_assert(m->sent == 0 && (status != SMPP_ROK || m->taken == m->text.n_parts));
	add(&a, HM_STR("command-status"), name_of(status, c->arena));
	add(&a, HM_STR("phase"), HM_STR("submit"));
	add(&a, HM_STR("parts"), hm_arena_printf(c->arena, "%u", m->text.n_parts));
	add(&a, HM_STR("accepted"), hm_arena_printf(c->arena, "%u", m->taken));
	if (ids.p == NULL || ids.len) {
		add(&a, HM_STR("message-id"), m->parts[m->text.n_parts - 1].id);
		if (m->parts[m->text.n_parts - 1].id.len == 0)
			a.n--;
		add(&a, HM_STR("message-ids"), ids);
	}
	if (m->taken && status != SMPP_ROK)
		add(&a, HM_STR("partial"), HM_STR("yes"));
	HM_MAGIC_CLEAR(m);
	if (!give(&a, status) ||
	    (m->words.len && !call_append(c, m->words.p, m->words.len) && !c->answer_cut)) {
		call_finish(c, HM_FATE_MAYBE, HM_ENOMEM, "no memory for the answer");
		return;
	}
	call_answered(c);
}

void smpp_answer_bind(struct hm_call *c, uint32_t status)
{
	struct answer a = {.call = c};

	add(&a, HM_STR("command-status"), name_of(status, c->arena));
	add(&a, HM_STR("phase"), HM_STR("bind"));
	if (!give(&a, status)) {
		call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
		return;
	}
	call_answered(c);
}
