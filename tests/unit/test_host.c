/* test_host.c - the one notion of a host and a node.
 * Goal: a host is itself; another name, another boot or another namespace of processes is not; a
 * text in LONGTAKE_NODE makes nodes of its own, which no host's name equals; one that is too long
 * is refused. Method: this process' own, and copies with one thing changed. Ranks: 1. Needs: /proc.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/host.h"

static void hosts(void **state)
{
    (void)state;
    lt_host_id me, again;
    char name[256] = "";
    lt_host_me(&me);
    lt_host_me(&again);
    assert_int_equal(gethostname(name, sizeof name - 1), 0);
    assert_string_equal(me.name, name);
    assert_int_equal(strlen(me.boot), 36); /* a UUID, no newline */
    assert_true(me.processes > 0);
    assert_memory_equal(&me, &again, sizeof me);
    assert_true(lt_host_same(&me, &again) && lt_host_shares_processes(&me, &again));
    again.processes++; /* a container beside this one */
    assert_true(lt_host_same(&me, &again) && !lt_host_shares_processes(&me, &again));
    lt_host_me(&again);
    again.name[0] ^= 1;
    assert_false(lt_host_same(&me, &again));
    lt_host_me(&again);
    again.boot[0] ^= 1; /* equal names, as containers on two hosts may have */
    assert_false(lt_host_same(&me, &again) || lt_host_shares_processes(&me, &again));
}

static void nodes(void **state)
{
    (void)state;
    lt_host_id here;
    lt_node_id host, text, other;
    char longest[LT_NODE_TEXT_BYTES + 1];
    lt_host_me(&here);
    assert_int_equal(unsetenv("LONGTAKE_NODE"), 0);
    assert_int_equal(lt_node_me(&host), LT_OK);
    assert_string_equal(host.name, here.name);
    assert_true(lt_node_same(&host, &host));
    assert_int_equal(setenv("LONGTAKE_NODE", here.name, 1), 0);
    assert_int_equal(lt_node_me(&text), LT_OK);
    assert_false(lt_node_same(&host, &text)); /* the same letters, and yet another node */
    assert_int_equal(setenv("LONGTAKE_NODE", "rack", 1), 0);
    assert_int_equal(lt_node_me(&other), LT_OK);
    assert_false(lt_node_same(&text, &other));
    assert_int_equal(lt_node_me(&text), LT_OK);
    assert_true(lt_node_same(&text, &other));
    memset(longest, 'n', sizeof longest);
    longest[LT_NODE_TEXT_BYTES] = '\0';
    assert_int_equal(setenv("LONGTAKE_NODE", longest, 1), 0);
    assert_int_equal(lt_node_me(&text), LT_EUSAGE);
    longest[LT_NODE_TEXT_BYTES - 1] = '\0';
    assert_int_equal(setenv("LONGTAKE_NODE", longest, 1), 0);
    assert_int_equal(lt_node_me(&text), LT_OK);
    assert_string_equal(text.name, longest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hosts), cmocka_unit_test(nodes)};
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
