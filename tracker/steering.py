"""What a person decides about instances and jobs, and about the whole. Each is one script, which notes who and why."""

from tracker.ledger_scripts import Scripts


class Steering(Scripts):
    """Decisions under one key prefix. Every method raises LedgerUnavailable when Redis is away or the ledger is not verified."""

    def retry_parked(self, instance_id: str, *, who: str, why: str) -> bool:
        """Have a parked instance looked at by the next check; whether it was parked."""
        return bool(self.run("retry_parked", instance_id, who, why)[0] == "OK")

    def retry_job(self, job_id: str, *, who: str, why: str) -> bool:
        """Have a parked job looked at by the next check; whether it was parked."""
        return bool(self.run("retry_job", job_id, "retry", who, why)[0] == "OK")

    def drop_job(self, job_id: str, *, who: str, why: str) -> bool:
        """Give a parked job up; whether it was parked. One that an instance still names comes back with that instance's end."""
        return bool(self.run("retry_job", job_id, "drop", who, why)[0] == "OK")

    def pause(self, what: str, *, who: str, why: str) -> bool:
        """Pause the `pushes` or the `bridge`, over births too; whether it was not paused before."""
        return bool(self.run("pause", what, "1", who, why)[1] == "1")

    def resume(self, what: str, *, who: str, why: str) -> bool:
        """Let it go on; whether it was paused."""
        return bool(self.run("pause", what, "0", who, why)[1] == "1")

    def note_forced(self, instance_id: str, job_id: str | None, state: str, *, who: str, why: str) -> None:
        """Write down that a person wants an instance's state set by force, before it is done."""
        self.run("note_forced", instance_id, job_id or "", state, who, why)

    def give_up(self, instance_id: str, *, who: str, why: str, remember_s: float, dead_letters_max: int) -> int | None:
        """
        Give a parked instance up: what it owes becomes a dead letter. Returns how many, None when it is not parked or held.

        It is remembered for `remember_s`. Raises LettersFull.
        """
        reason = f"given up by {who}{f': {why}' if why else ''}"
        reply = self.run("bury", instance_id, "", reason, 0, int(remember_s * 1000), 0, dead_letters_max, who)
        return int(reply[1]) if reply[2] == "1" else None
