-- What a rollout could see by its steps and the traffic before it, in a sentence.
ALTER TABLE rollout ADD COLUMN sees VARCHAR DEFAULT '';
