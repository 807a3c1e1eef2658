import os

import httpx


def search(**query):
    key = os.environ["SUPABASE_PUBLISHABLE_KEY"]
    answer = httpx.post(os.environ["QUERY_URL"], json=query, headers={"apikey": key}, timeout=60)
    answer.raise_for_status()
    return answer.json()["results"]


castle = search(text="a castle", limit=1)[0]
for image in search(like=f"{castle['bucket']}/{castle['name']}", limit=6):
    print(f"{image['similarity']:.3f} {image['name']} {image['url']}")
