"""The review tab's goals: kills and large stores."""
