// Effects and what they leave, as short texts.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "support/committer.hpp"

namespace dbos::test {

inline sysdb::NewMessage message(const std::string& to, const std::string& text, const std::string& id,
                                 sysdb::Millis at = 1000, const std::string& topic = sysdb::kNullTopic) {
    return {.destination = to,
            .topic = topic,
            .message = text,
            .serialization = "portable_json",
            .id = id,
            .fork_key = id,
            .created_at_ms = at};
}
inline sysdb::Effect sends(std::vector<sysdb::NewMessage> messages, bool to_forks = false) {
    return sysdb::SendEffect{std::move(messages), to_forks};
}
inline sysdb::Effect sets(const std::string& key, const std::string& value) {
    return sysdb::EventEffect{key, value, "portable_json"};
}
inline sysdb::Effect appends(const std::string& key, const std::string& value) {
    return sysdb::StreamEffect{key, value, "portable_json"};
}
inline sysdb::Effect receives(bool record_nothing = false, const std::string& topic = sysdb::kNullTopic) {
    return sysdb::ReceiveEffect{topic, record_nothing};
}

class EffectsTest : public CommitterTest {
   public:
    static sysdb::StepRecord checkpoint(std::int32_t number, sysdb::Millis completed_at = 2000) {
        sysdb::StepRecord record = step(number, "", completed_at);
        record.output.reset();
        return record;
    }
    void act(const std::string& id, std::int32_t number, sysdb::Effect effect,
             sysdb::Completion<sysdb::StepResult> done, const std::string& token = "t") {
        database().record_effect_async({id, token}, checkpoint(number), std::move(effect), std::move(done));
    }
    /// workflow, key, value
    std::vector<std::string> events() {
        return rows("SELECT workflow_uuid, key, value FROM @workflow_events ORDER BY 1, 2");
    }
    /// workflow, number, key, value
    std::vector<std::string> history() {
        return rows(
            "SELECT workflow_uuid, function_id, key, value FROM @workflow_events_history ORDER BY 1, 2, 3");
    }
    /// workflow, key, offset, value, number
    std::vector<std::string> streams() {
        return rows(
            "SELECT workflow_uuid, key, \"offset\", value, function_id FROM @streams ORDER BY 1, 2, 3");
    }
    /// id, destination, message, consumed by
    std::vector<std::string> messages() {
        return rows(
            "SELECT message_uuid, destination_uuid, message, CASE WHEN consumed THEN "
            "COALESCE(consumed_by_function_id, -1) END FROM @notifications ORDER BY 1");
    }
    /// number, output
    std::vector<std::string> steps_of(const std::string& id) {
        return rows("SELECT function_id, output FROM @operation_outputs WHERE workflow_uuid = $1 ORDER BY 1",
                    {std::string_view(id)});
    }
    std::vector<std::string> nothing_written() {
        std::vector<std::string> found;
        for (const char* table : {"workflow_events", "workflow_events_history", "streams", "notifications"}) {
            const std::string count = one("SELECT count(*) FROM @" + std::string(table));
            if (count != "0") found.push_back(table + (" " + count));
        }
        return found;
    }
    using Lines = std::vector<std::string>;
};

}  // namespace dbos::test
