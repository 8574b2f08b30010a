// What listens for the wake-ups of other processes on behalf of everybody who subscribes: one per SystemDatabase.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string_view>

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
    void watch_file();

    SystemDatabase::Core& core_;
    seam::Mutex mutex_;
    std::map<const void*, Handler> handlers_;
    seam::Atomic<bool> stopping_{false};
    std::unique_ptr<sql::Listener> listener_;  // PostgreSQL
    seam::Thread thread_;                      // SQLite
};

}  // namespace dbos::sysdb
