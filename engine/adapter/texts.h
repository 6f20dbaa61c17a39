/*
 * texts.h - what the content becomes on this channel: title, body and the rest, in its dialect, within its limits
 *
 * Most messages are plain text for a medium of plain text: then the fields are the content's own, cut where a limit
 * says so, and nothing is parsed or copied ("plain" below). Otherwise body, short, text and html are made when an
 * expression first asks for them: parsed once (adapt/rich.h), put together with what the medium has no place for (title,
 * url, buttons), written in the dialect and made to fit (adapt/fit.h).
 *
 * The limits of a field may ask for other fields, also through a let. Titles and links are settled first, while body
 * and its kin still show the content as it was given; a field that is being made shows itself so, too. What a
 * let had seen of a text before is forgotten when the text changes.
 *
 * Private to engine/adapter. One hm_texts per build, on its stack; memory from the build's arena.
 */
#ifndef HM_ADAPTER_TEXTS_H
#define HM_ADAPTER_TEXTS_H

#include "adapt/fit.h"
#include "adapter/model.h"

struct hm_texts {
	const struct hm_channel *c;
	const struct hm_variant *form;
	const struct hm_dialect *dialect;
	enum hm_place_of place[HM_PLACED_COUNT];
	bool plain;
	bool begun;	     /* dialect and places are known */
	uint32_t busy, done; /* bits of enum hm_var: being made; made */
	uint32_t parts;	     /* of the field with the most */
	size_t cap; /* bytes the body may have so that the payload is not too large; 0: no such limit */
	struct hm_str html;
	struct hm_str beside; /* what stands around the body, for its measure */
	/* the content, parsed */
	bool parsed, composed;
	struct hm_rich source, text, tail;
	struct hm_val links, images, buttons;
	struct hm_build_report *report; /* NULL: nobody wants to know */
};

/* Settles the dialect, the places, title, url and image; 0 or ev->err is set. Lets must be given. */
int hm_texts_begin(struct hm_eval *ev, struct hm_texts *t, const struct hm_channel *c,
		   const struct hm_variant *form) HM_MUSTCHECK;
/* A field that is made when asked for; part and parts too. */
struct hm_val hm_texts_var(struct hm_eval *ev, enum hm_var v);
/* Plain text for the dialect: as it is read, bold, as a link when there is a url. */
struct hm_val hm_texts_write(struct hm_eval *ev, struct hm_str s, bool bold, struct hm_str url);
/* The request's body has `size` bytes, more than `max`: shortens the text it holds. False when that cannot help. */
bool hm_texts_shrink(struct hm_eval *ev, size_t size, size_t max, enum hm_body_kind kind);
/* How many parts there are and whether the one asked for is among them. */
int hm_texts_parts(struct hm_eval *ev) HM_MUSTCHECK;
/* What was measured and noticed, for previews (texts_report.c). */
void hm_texts_note(struct hm_texts *t, enum hm_var field, const struct hm_build_field *f);
void hm_texts_report(struct hm_eval *ev, size_t payload, size_t payload_max);
const struct hm_rich *hm_texts_source(struct hm_eval *ev); /* the body, parsed; NULL after an error */

#endif
