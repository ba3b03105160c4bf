/* test_sha256.c - SHA-256 against the standard's examples, and by instructions against plain C.
 * Goal: the same digest whatever the pieces and the processor. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/sha256.h"

static const struct {
    const char *text;
    size_t times;
    const char *wanted;
} examples[] = {
    {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void the_standards_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        lt_sha256 s;
        char text[65];
        lt_sha256_begin(&s);
        for (size_t k = 0; k < examples[i].times; k++)
            lt_sha256_add(&s, examples[i].text, strlen(examples[i].text));
        lt_sha256_end(&s, text);
        assert_string_equal(text, examples[i].wanted);
    }
}

static void instructions_agree_with_plain(void **state)
{
    (void)state;
    uint8_t data[64 * 9];
    uint32_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8}, b[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    if (!lt_sha256_has_x86())
        skip();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 ^ i >> 3);
    lt_sha256_blocks_plain(a, data, 9);
    lt_sha256_blocks_x86(b, data, 9);
    assert_memory_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_standards_examples),
                                       cmocka_unit_test(instructions_agree_with_plain)};
    return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
