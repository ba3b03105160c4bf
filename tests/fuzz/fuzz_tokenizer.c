/* fuzz_tokenizer.c - any text, and any tokenizer files: ids or an error, never a crash or a leak.
 * An input is four parts with a byte 0x1e between: members for vocab.json behind a token for each
 * byte, merges.txt, tokenizer_config.json, a text. Whatever opens must keep the properties of a
 * tokenizer: ids below its size, the same ids again, words that are never empty, NFC that stays as
 * it is when normalised again, and a text of one added token that gives its id. */
#include "fuzz_main.h"

#include "base/text.h"
#include "model/text/bpe_internal.h"

static void require(int truth)
{
    if (!truth)
        abort();
}

/* vocab.json with 256 byte tokens, then `more`. The caller frees. */
static char *vocab_text(const uint8_t *more, size_t more_bytes, size_t *bytes)
{
    const size_t room = 8192 + more_bytes;
    char *text = malloc(room);
    size_t at = 1;
    unsigned next = 0x100;
    require(text != NULL);
    text[0] = '{';
    for (unsigned byte = 0; byte < 256; byte++) {
        const int prints =
            (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        at += (size_t)snprintf(text + at, room - at, "%s\"\\u%04x\":%u", byte ? "," : "",
                               prints ? byte : next++, byte);
    }
    if (more_bytes > 0)
        memcpy(text + at, more, more_bytes);
    at += more_bytes;
    text[at++] = '}';
    *bytes = at;
    return text;
}

/* A part up to the next 0x1e; moves on past it. */
static lt_bpe_source part(const uint8_t **at, size_t *left, const char *name)
{
    const uint8_t *end = *left > 0 ? memchr(*at, 0x1e, *left) : NULL;
    const size_t n = end != NULL ? (size_t)(end - *at) : *left;
    const lt_bpe_source source = {(const char *)*at, name, n};
    *at += n + (end != NULL);
    *left -= n + (end != NULL);
    return source;
}

static void use(const lt_bpe *bpe, const lt_bpe_source *text)
{
    int32_t *ids = NULL, *again = NULL;
    int64_t count = 0, count_again = 0;
    const lt_status st = lt_bpe_encode(bpe, text->text, text->bytes, &ids, &count);
    require((st == LT_OK) == lt_utf8_valid(text->text, text->bytes));
    if (st != LT_OK) {
        require(st == LT_EUSAGE && ids == NULL);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        require(ids[i] >= 0 && ids[i] < lt_bpe_vocab_size(bpe));
    require(lt_bpe_encode(bpe, text->text, text->bytes, &again, &count_again) == LT_OK);
    require(count == count_again && memcmp(ids, again, (size_t)count * sizeof *ids) == 0);
    free(ids);
    free(again);
    char *once = NULL, *twice = NULL;
    size_t once_bytes = 0, twice_bytes = 0;
    require(lt_bpe_nfc(text->text, text->bytes, &once, &once_bytes) == LT_OK);
    require(lt_bpe_nfc(once, once_bytes, &twice, &twice_bytes) == LT_OK);
    require(once_bytes == twice_bytes && memcmp(once, twice, once_bytes) == 0);
    for (size_t at = 0; at < once_bytes;) {
        const size_t n = lt_bpe_word(once + at, once_bytes - at);
        require(n > 0 && n <= once_bytes - at);
        at += n;
    }
    free(once);
    free(twice);
}

static void use_added(const lt_bpe *bpe)
{
    for (size_t i = 0; i < bpe->added_count && i < 16; i++) {
        const lt_bpe_added *t = &bpe->added[i];
        int32_t *ids = NULL;
        int64_t count = 0;
        require(lt_bpe_encode(bpe, t->text, t->bytes, &ids, &count) == LT_OK);
        require(count == 1 && ids[0] == t->id);
        free(ids);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lt_bpe *bpe = NULL;
    const lt_bpe_source more = part(&data, &size, "vocab.json");
    const lt_bpe_source merges = part(&data, &size, "merges.txt");
    const lt_bpe_source config = part(&data, &size, "tokenizer_config.json");
    const lt_bpe_source text = {(const char *)data, "text", size};
    lt_bpe_source vocab = {NULL, "vocab.json", 0};
    char *json = vocab_text((const uint8_t *)more.text, more.bytes, &vocab.bytes);
    vocab.text = json;
    const lt_status st = lt_bpe_parse(&vocab, &merges, &config, &bpe);
    free(json);
    require((st == LT_OK) == (bpe != NULL));
    if (st != LT_OK) {
        require(st == LT_EDATA && lt_error_text()[0] != '\0');
        return 0;
    }
    use_added(bpe);
    use(bpe, &text);
    lt_bpe_close(&bpe);
    return 0;
}

#define RS     "\x1e"
#define MERGED ",\"th\":256,\"the\":257,\"\\u0120t\":258,\"\\u0120the\":259,\"aa\":260,\"aaaa\":261"
#define MERGES "t h\nth e\n\xc4\xa0 t\n\xc4\xa0t he\na a\naa aa\n"
#define CONFIG                                                                                     \
    "{\"added_tokens_decoder\":{\"300\":{\"content\":\"<d>\",\"special\":true}},"                  \
    "\"eos_token\":\"<|e|>\",\"additional_special_tokens\":[\"</d>\",\"<d\",\"th\"]}"

static const fuzz_seed seeds[] = {
    FUZZ_SEED(RS RS "{}" RS "the the  aaaaa it's 12\r\n\n x"),
    FUZZ_SEED(MERGED RS "t h\nth e\na a\naa aa\n" RS CONFIG RS "<d>the aaaaaaa</d><d<|e|>th"),
    FUZZ_SEED(MERGED RS "#version: 0.2\nt h\r\nth e\r\n" RS "{\"tokenizer_class\":null}" RS
                        "'s 'LL '\xc5\xbf"),
    FUZZ_SEED(MERGED RS MERGES RS CONFIG RS "a merge that vocab.json lacks"),
    FUZZ_SEED(RS RS "{}" RS "e\xcc\x81q\xcc\x87\xcc\xa3 \xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8 "
                    "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0 \xe0\xa5\x98"),
    FUZZ_SEED(RS RS "{\"pad_token\":{\"content\":\"<p>\"}}" RS
                    "\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x80\xf0\x9f\x99\x82<p>\xc2\xa0\xe2\x80\xa8"),
    FUZZ_SEED(RS RS "{}" RS "bad \xff\xed\xa0\x80"),
    FUZZ_SEED(",\"\\u0000\":400" RS "a  b\n" RS "[1]" RS "x"),
};

FUZZ_MAIN("tokenizer", seeds, 2048)
