// What listens for the wake-ups of other processes on behalf of everybody who subscribes: one per SystemDatabase.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "sysdb/system_database.hpp"

namespace dbos::sysdb {

class WakeListener {
   public:
    using Handler = std::function<void(const Wakeups::Event&)>;

    explicit WakeListener(SystemDatabase::Core& core);
    ~WakeListener();
    WakeListener(const WakeListener&) = delete;
    WakeListener& operator=(const WakeListener&) = delete;

    void subscribe(const void* key, Handler handler);
    /// After it has returned, the handler is not called any more.
    void unsubscribe(const void* key);

    /// A payload of dbos_cpp_wake, `<schema> q:<hashes> w:<hashes>`; an event without content if it is not for `schema`.
    static Wakeups::Event parse(std::string_view payload, std::string_view schema);

   private:
    void tell(const Wakeups::Event& event);
    void tell_all();
    void watch_file();
    std::optional<std::uint32_t> file_commits();
    bool others_committed();

    SystemDatabase::Core& core_;
    seam::Mutex mutex_;
    std::vector<std::pair<const void*, Handler>>
        handlers_;  // in the order of subscription, never of addresses
    seam::Atomic<bool> stopping_{false};
    std::unique_ptr<sql::Listener> listener_;  // PostgreSQL

    // SQLite; of the watching thread.
    seam::WakeFile* file_ = nullptr;
    std::unique_ptr<sql::Connection> connection_;
    std::optional<std::uint32_t> seen_commits_;  // the number of the file at the last look
    std::int64_t base_ = 0;                      // commits of the file minus own ones, where counting began
    std::int64_t told_ = 0;                      // commits of others since, as far as they were told
    seam::SteadyTime unsure_told_{};
    seam::Thread thread_;
};

}  // namespace dbos::sysdb
