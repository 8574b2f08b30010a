// What errands have in common: the client, what is known of them, and how they wait.
#pragma once

#include <sqlite3.h>

#include <functional>
#include <string>

#include "errands.hpp"

namespace dbos::sim {

/// A connection of the client program itself, as it would open one beside the library.
class OwnConnection {
   public:
    explicit OwnConnection(const std::string& path) {
        if (sqlite3_open_v2(path.c_str(), &database_, SQLITE_OPEN_READWRITE, seam::db_vfs()) != SQLITE_OK)
            fail("the client cannot open the file");
        sqlite3_busy_timeout(database_, 60'000);
    }
    ~OwnConnection() { sqlite3_close(database_); }
    OwnConnection(const OwnConnection&) = delete;
    OwnConnection& operator=(const OwnConnection&) = delete;
    /// Whether it was done; busy = it was not.
    bool run(const char* sql) {
        const int code = sqlite3_exec(database_, sql, nullptr, nullptr, nullptr);
        if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY)
            fail(std::string("the client's own ") + sql + " failed: " + sqlite3_errmsg(database_));
        return code == SQLITE_OK;
    }
    sqlite3* get() const { return database_; }

   private:
    sqlite3* database_ = nullptr;
};

class ErrandTools {
   public:
    ErrandTools(Client& client, Known& known, Nanos pace, const std::string& path)
        : client_(client), known_(known), pace_(pace), path_(path) {}

   protected:
    void accepted(const std::string& id) {
        note([&] { known_.accepted.insert(id); });
    }
    void note(const std::function<void()>& what) {
        const Unseen unseen;
        what();
    }
    void pause(Nanos longest) {
        seam::sleep_for(seam::Duration(static_cast<Nanos>(draw() % static_cast<std::uint64_t>(longest))));
    }
    /// Waits for the end; whether it was SUCCESS or ERROR.
    template <class Get>
    bool ended(const Get& get) {
        try {
            get();
            return true;
        } catch (const AwaitedWorkflowCancelled&) {
            return false;
        } catch (const DatabaseError&) {
            throw;
        } catch (const NonexistentWorkflow&) {
            throw;
        } catch (const std::exception&) {  // a step of it has failed
            return true;
        }
    }

    /// Forks, unless an earlier life of this client has, and waits for the end of the fork.
    template <class Contract>
    void fork_once(const Contract& contract, const std::string& original, std::int64_t from,
                   const std::string& id) {
        note([&] { known_.forks.emplace(id, std::pair(original, static_cast<int>(from))); });
        try {
            client_.fork_workflow(contract, original, from, {.new_workflow_id = id});
        } catch (const WorkflowIdInUse&) {
            const auto status = client_.get_workflow_status(id);
            if (!status || status->forked_from != original) fail(id + " is in use, and is not the fork");
        }
        accepted(id);
        const auto forked = client_.retrieve_workflow(contract, id);
        ended([&] { return forked.get_result(); });
    }

    Client& client_;
    Known& known_;
    const Nanos pace_;
    const std::string& path_;
};

/// Errands of errands_ends.cpp.
void do_rewind(const ErrandTools& tools, const Errand& errand);
void do_fragile(const ErrandTools& tools, const Errand& errand);
void do_deadline(const ErrandTools& tools, const Errand& errand);
void do_unrunnable(const ErrandTools& tools, const Errand& errand);
void do_flood(const ErrandTools& tools, const Errand& errand);
void do_reform(const ErrandTools& tools, const Errand& errand);
void do_books(const ErrandTools& tools, const Errand& errand);

}  // namespace dbos::sim
