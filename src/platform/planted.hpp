// Known bugs that the simulator can plant in the engine, one at a time, to prove that its campaigns find them. In a release
// seam::planted() is constexpr false, and nothing of this is left.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dbos::seam {

// X(name, what the engine then does)
#define DBOS_PLANTED_BUGS(X)                                                                              \
    X(none, "nothing wrong")                                                                              \
    X(fence_by_two_arrays, "a batch tests ids and tokens apart: a stale run's write passes by another's") \
    X(outcome_without_fence, "an outcome is written whoever owns the row and whatever it is")             \
    X(own_record_taken_for_anothers, "a step's record behind a lost acknowledgement is somebody else's")  \
    X(effect_without_gate, "an effect is applied although its checkpoint was there")                      \
    X(lost_claim_forgotten, "rows of a claim whose acknowledgement was lost are not looked up")           \
    X(lost_ack_taken_for_refusal, "a commit without acknowledgement is reported as certainly not done")   \
    X(history_before_claim, "what is recorded of a claimed workflow is read before the claim")            \
    X(no_check_before_step, "a step begins without a look at lease and owner")                            \
    X(healed_lapse_unseen, "a lapse that a renewal has healed does not count")                            \
    X(lapse_read_after_claim, "a run is born under the lapse number after its claim, not before it")      \
    X(lease_on_steady_clock, "the lease's age leaves out the sleep of the host")                          \
    X(dead_by_expiry, "an executor is dead when its lease has expired, whatever its counter does")        \
    X(evidence_survives_failed_tick, "evidence of death is kept over a tick that failed")                 \
    X(evidence_survives_gaps, "evidence of death is kept over failed and late ticks and renewals")        \
    X(sweep_of_the_renewed, "a sweep does not look whether the judged executor has renewed")              \
    X(shared_limit_counted_early, "a claim under a shared limit counts before it has the writers' lock")  \
    X(starts_counted_early, "a claim under a rate limit counts before it has the writers' lock")          \
    X(partition_counted_early, "a claim of partitions is chosen before it has the writers' lock")         \
    X(head_by_name, "the first workflow of a partition key is looked for among the own names")            \
    X(key_slots_unseen, "a claim of partitions does not know what of a key runs here")                    \
    X(slot_freed_early, "a queue slot is freed when the body ends, not when the outcome is committed")    \
    X(orphans_without_reservations, "a start that is being committed looks like a row that nobody runs")  \
    X(idle_signal_read_late, "the committer reads its signal after it has looked at the inbox")           \
    X(check_before_register, "a commit that is told of before its caller waits is forgotten")             \
    X(slot_on_the_stack, "what the committer notifies dies when its waiter goes on")                      \
    X(no_poll_floor, "only wake-ups tell of queued work")                                                 \
    X(cancel_unseen_by_wait, "a wait of a body is not ended by its interrupt")                            \
    X(tick_of_a_paused_schedule, "a tick is fired without a look whether its schedule is still active")   \
    X(next_tick_after_now, "after a tick the next one is looked for from now on, not from that tick on")  \
    X(deadline_counts_anew, "each claim of a workflow gives it its whole time-out once more")             \
    X(resume_keeps_attempts, "a resume leaves the counter of attempts as it is")                          \
    X(dead_letter_late, "a workflow is given up after one run more than its limit allows")                \
    X(sleep_truncated, "a sleep ends with the second that its instant is in")                             \
    X(timeout_forgotten, "a receive that has timed out gives a replay what has come since")               \
    X(every_version_is_latest, "rows without a version are claimed by whichever version meets them")      \
    X(turn_never_passes, "claims share out from the first queue on, every time")                          \
    X(rewind_cuts_late, "a rewind leaves the record of its first step")                                   \
    X(overdue_unseen, "nobody cancels what is past its deadline")                                         \
    X(child_without_deadline, "a child does not inherit the deadline of its parent")                      \
    X(undecodable_given_back, "a run whose inputs cannot be decoded is handed back, to be tried again")   \
    X(one_attempt_more, "a step with retries is tried once more than it may be")                          \
    X(names_not_compared, "a record answers for whatever the code asks for in its place")                 \
    X(witness_ignored, "a transaction that has been committed is done again")                             \
    X(held_for_ever, "bodies that waited for writes are not looked at when those are done")               \
    X(word_not_passed_on, "a run that is told of its write does not tell the next one")

enum class Bug : std::uint8_t {
#define DBOS_BUG_ENUM(name, text) name,
    DBOS_PLANTED_BUGS(DBOS_BUG_ENUM)
#undef DBOS_BUG_ENUM
        count,
};

struct BugText {
    const char* name;
    const char* text;
};
inline constexpr BugText kBugs[] = {
#define DBOS_BUG_TEXT(name, text) {#name, text},
    DBOS_PLANTED_BUGS(DBOS_BUG_TEXT)
#undef DBOS_BUG_TEXT
};

}  // namespace dbos::seam
