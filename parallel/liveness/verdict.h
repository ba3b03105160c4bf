/* verdict.h - given what is known of the peers and the time: which rank is dead, and why.
 *
 * The failure detector's decision as functions of what it has gathered: no clock, no MPI, no
 * printing, no state. detector.c feeds them and acts. A peer counts as dead by the first of
 *
 *     a peer's word   that it is dead
 *     our SIGTERM     a launcher noticed before us. All are asked; a rank that does not answer
 *                     within signal_s, or was silent for long already, is the reason. If all
 *                     answer, the signal is the user's own.
 *     its process     is gone (ranks of one host and one process namespace)
 *     its silence     of silence_s: it was stopped, its host died, the link was cut; of 60 s where
 *                     its detector on this host is runnable and only gets no processor
 *
 * A peer that computes for minutes is not dead: its detector sends heartbeats. Progress is read
 * from the calls: if a rank waits while no rank's calls or steps change for progress_steps steps
 * (progress_s at least), nothing moves any more. The lowest survivor prints for all.
 *
 * All functions are Local and never fail. Tested: tests/unit/test_verdict.c. */
#ifndef LT_VERDICT_H
#define LT_VERDICT_H

/* Seconds; the defaults are in verdict.c. */
typedef struct lt_detector_limits {
    double heartbeat_s;    /* from one heartbeat to the next */
    double silence_s;      /* a peer without heartbeats for so long is dead */
    double progress_s;     /* at least so long without progress before all end, */
    double progress_steps; /* and so many times the longest step */
    double signal_s;       /* how long a SIGTERM waits for its reason to show */
} lt_detector_limits;
extern const lt_detector_limits lt_detector_defaults;

/* How long a detector may starve: 7 s were seen, with twenty processes on two cores. */
enum { LT_STARVED_S_MAX = 60 };

/* What is known of one rank. This rank's own entry is not watched. */
typedef struct lt_peer {
    int watched;               /* this rank receives its heartbeats */
    int has_left;              /* it has closed the world: silent for good, and rightly */
    int dead;                  /* a peer said so */
    int ended;                 /* its process is gone, and its last words have been read */
    int starved;               /* its detector is runnable, and gets no processor */
    double received, answered; /* when; answered: to the last question, < 0: not yet */
} lt_peer;

typedef struct lt_evidence {
    int rank, size;
    const lt_peer *peer; /* [size] */
    const lt_detector_limits *limits;
    double now;
    /* what peers said */
    int aborted;             /* one failed alone and said why, or this rank is dead to the others */
    int stuck;               /* nothing moves */
    int peer_signal;         /* the user's signal came to a peer; 0: none */
    const char *dead_reason; /* of those that a peer called dead */
    /* this rank */
    int failed_alone;        /* it said why and ends the job */
    int signal;              /* that came to it; 0: none */
    const char *signal_name; /* its name */
    int stops, sent_stop;    /* it stops for a signal; has sent the others word */
    double asked_at;         /* when all were asked after a signal; < 0: not yet */
    double late_since;       /* since when a stop in order takes too long; < 0: it does not */
    double woke_until;       /* it was stopped itself: it says nothing of the others' end */
    int waits;               /* in a collective */
    double longest_step_s;   /* so far; 0: not known */
    double changed_at;       /* when any rank's calls or step last changed */
} lt_evidence;

typedef enum lt_verdict_kind {
    LT_VERDICT_NONE,
    LT_VERDICT_LEAVE,   /* another rank prints: leave in silence */
    LT_VERDICT_DEAD,    /* `rank` is dead, for `reason` */
    LT_VERDICT_STUCK,   /* nothing has moved for `seconds` */
    LT_VERDICT_ASK,     /* a signal came: ask all whether they live */
    LT_VERDICT_STOP,    /* `signal` is the user's own: all stop, in order where they can */
    LT_VERDICT_STOPPED, /* end now, for `signal` */
} lt_verdict_kind;

typedef struct lt_verdict {
    lt_verdict_kind kind;
    int rank, signal;
    int prints; /* this rank prints the line */
    double seconds;
    char reason[96];
} lt_verdict;

/* By what peers said. dead [size] gets 1 for every rank that counts as dead. */
lt_verdict lt_verdict_by_peers(const lt_evidence *e, unsigned char *dead);
/* By what this rank sees for itself, where no peer has said anything. */
lt_verdict lt_verdict_seen(const lt_evidence *e, unsigned char *dead);

/* Is it one whose silence counts? */
int lt_peer_counts(const lt_peer *p);

#endif
