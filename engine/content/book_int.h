/*
 * book_int.h - what loading files needs of the book: a change in two steps
 *
 * lock; a snapshot is made beside the current one (hm_book_with_files) and looked at; unlock puts it in
 * place, or with NULL leaves everything as it was.
 */
#ifndef HM_CONTENT_BOOK_INT_H
#define HM_CONTENT_BOOK_INT_H

#include "content/content_int.h"

void hm_book_lock(struct hm_book *b);
void hm_book_unlock(struct hm_book *b, struct hm_template_set *s); /* takes s over */
/* f sorted by name, its references taken over; NULL: no memory. */
struct hm_template_set *hm_book_with_files(struct hm_book *b, struct hm_template *const *f, size_t n);

#endif
